"""How the missions of a project fared, by what was measured after them."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, select

from aiforge.schemas.missions import ExecutionStatus, MissionStatus, Outcome, TrackRecord, Watcher
from aiforge.state.missions import missions
from aiforge.state.ops import read


@read
def of_project(connection: Connection, project_name: str) -> TrackRecord:
    """Counts of a project's missions, and each outcome that was measured, oldest first."""
    columns = missions.c["status", "execution_status", "outcome"]
    rows = connection.execute(
        select(*columns).where(missions.c.project_name == project_name).order_by(missions.c.id)
    ).all()
    statuses = Counter(row.status for row in rows)
    executions = Counter(row.execution_status for row in rows)
    measured = [Outcome.model_validate(row.outcome) for row in rows if row.outcome is not None]
    return TrackRecord(
        project_name=project_name,
        proposed=len(rows),
        approved=statuses[MissionStatus.APPROVED],
        rejected=statuses[MissionStatus.REJECTED],
        superseded=statuses[MissionStatus.SUPERSEDED],
        executed=executions[ExecutionStatus.COMPLETED],
        failed=executions[ExecutionStatus.FAILED],
        outcomes=measured,
        met=sum(1 for outcome in measured if outcome.met),
        mean_relative_change=_mean_change(measured),
    )


def _mean_change(outcomes: list[Outcome]) -> float | None:
    changes = [(one.after - one.before) / one.before for one in outcomes if one.before]
    return sum(changes) / len(changes) if changes else None


@read
def relative_changes(connection: Connection, project_name: str, watcher: Watcher) -> list[float]:
    """``(after − before) / before`` of each measured mission of a watcher, oldest first."""
    rows = connection.execute(
        select(missions.c.outcome)
        .where(
            missions.c.project_name == project_name,
            missions.c.watcher == watcher,
            missions.c.outcome.is_not(None),
        )
        .order_by(missions.c.id)
    )
    outcomes = [Outcome.model_validate(stored) for (stored,) in rows]
    return [(one.after - one.before) / one.before for one in outcomes if one.before]
