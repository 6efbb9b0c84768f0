"""What became of approved missions: how far their action is, and what it changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select

from aiforge.schemas.missions import Execution, ExecutionStatus, MissionDetail, Outcome
from aiforge.state import lifecycles, missions
from aiforge.state.missions import missions as table
from aiforge.state.ops import read, write
from aiforge.state.schema import now


@read
def executing(connection: Connection) -> list[MissionDetail]:
    """The approved missions whose action is not done, oldest decision first."""
    rows = connection.execute(
        select(table)
        .where(table.c.execution_status.in_(missions.UNDER_WAY))
        .order_by(table.c.decided_at, table.c.id)
    ).all()
    return [missions.detail(connection, row) for row in rows]


@read
def unmeasured(connection: Connection) -> list[MissionDetail]:
    """Missions whose training or deployment is done and whose outcome is not measured yet."""
    waiting = _trained().where(table.c.outcome.is_(None)).order_by(table.c.id)
    return [missions.detail(connection, row) for row in connection.execute(waiting).all()]


@read
def measured_for(connection: Connection, model_id: str) -> MissionDetail | None:
    """The retrain mission that led to a model, once its outcome is measured."""
    led = _trained(model_id).where(table.c.outcome.is_not(None)).order_by(table.c.id.desc())
    row = connection.execute(led.limit(1)).one_or_none()
    return None if row is None else missions.detail(connection, row)


@read
def awaiting_outcome(connection: Connection, model_id: str) -> bool:
    """Whether a retrain mission led to a model and its outcome is still to be measured."""
    led = _trained(model_id).where(table.c.outcome.is_(None))
    return connection.execute(select(led.exists())).scalar_one()


def _trained(model_id: str | None = None) -> Select[Any]:
    """Completed retrain missions; only those that led to a model, where one is given."""
    query = select(table).where(
        table.c.watcher == "retrain", table.c.execution_status == ExecutionStatus.COMPLETED
    )
    if model_id is None:
        return query
    return query.where(table.c.execution["modelId"].as_string() == model_id)


@write
def move(
    connection: Connection, mission_id: str, expected_step: str | None, execution: Execution
) -> MissionDetail:
    """Note how far an execution is: the only place that does.

    Nothing happens where it is not at ``expected_step`` any more: somebody else was first.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = missions.row_of(connection, mission_id)
    current = Execution.model_validate(row.execution)
    if current.step != expected_step or current.status in lifecycles.EXECUTION.terminal:
        return missions.detail(connection, row)
    lifecycles.EXECUTION.require(mission_id, current.status, execution.status)
    ended = execution.status in lifecycles.EXECUTION.terminal
    moment = now()
    stored = execution.model_copy(
        update={
            "started_at": current.started_at or moment,
            "finished_at": moment if ended else None,
        }
    )
    connection.execute(
        table.update()
        .where(table.c.id == mission_id)
        .values(
            execution=stored.model_dump(mode="json"),
            execution_status=stored.status,
            updated_at=moment,
        )
    )
    facts = {"jobId": stored.job_id, "modelId": stored.model_id, "error": stored.error}
    missions.tell(
        connection,
        mission_id,
        f"mission.execution_{stored.status}",
        row.project_name,
        row.watcher,
        step=stored.step,
        **{name: value for name, value in facts.items() if value},
    )
    return missions.get(connection, mission_id)


@write
def record_outcome(connection: Connection, mission_id: str, outcome: Outcome) -> None:
    """Store what an executed mission changed; the first measurement stands."""
    row = missions.row_of(connection, mission_id)
    if row.outcome is not None:
        return
    connection.execute(
        table.update()
        .where(table.c.id == mission_id)
        .values(outcome=outcome.model_dump(mode="json"), updated_at=now())
    )
    missions.tell(connection, mission_id, "mission.measured", row.project_name, row.watcher)
