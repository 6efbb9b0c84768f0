"""What watchers propose: a mission is raised, brought up to date, or withdrawn.

At most one mission of each watcher is open in a project; a unique index holds that. What a
watcher finds again updates the open mission; what was rejected stays silent until the evidence
has grown.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, select

from aiforge.schemas.common import Wire, new_id
from aiforge.schemas.missions import (
    MISSION_TYPES,
    MissionDetail,
    MissionPolicy,
    MissionStatus,
    Priority,
    Reasoning,
    RecommendedAction,
    Watcher,
)
from aiforge.state import lifecycles, missions
from aiforge.state.missions import missions as table
from aiforge.state.ops import write
from aiforge.state.schema import now


class Expectation(Wire):
    """What must still be true when a mission is approved; what is ``None`` is not looked at."""

    active_model_id: str | None = None
    dataset_id: str | None = None
    model_id: str | None = None
    source_revisions: dict[str, str] = Field(default_factory=dict)


class Proposal(Wire):
    """What a watcher proposes.

    ``subject`` tells two proposals of one watcher apart: what was rejected of one subject says
    nothing of another. ``magnitude`` grows with the evidence, in a unit of the watcher's own.
    """

    project_name: str
    watcher: Watcher
    subject: str
    title: str
    description: str
    priority: Priority
    confidence: int
    magnitude: float
    reasoning: Reasoning
    action: RecommendedAction
    expects: Expectation = Field(default_factory=Expectation)
    evidence: dict[str, Any] = Field(default_factory=dict)
    job_ids: list[str] = Field(default_factory=list)
    model_ids: list[str] = Field(default_factory=list)
    dataset_ids: list[str] = Field(default_factory=list)


NO_MODEL = ""
"""In place of the active model's id, where no model of the project may be active."""


@write
def propose(
    connection: Connection, proposal: Proposal, policy: MissionPolicy
) -> MissionDetail | None:
    """Raise a mission, or bring the open one up to date; ``None`` where nothing is to be said.

    Nothing is said below the policy's confidence, in quiet hours, while the same action is under
    way, or where the same proposal was rejected and its evidence has not grown since.
    """
    current = open_row(connection, proposal.project_name, proposal.watcher)
    if proposal.confidence < policy.min_confidence:
        if current is not None:
            missions.supersede(
                connection, current.id, "The evidence no longer reaches the confidence asked."
            )
        return None
    if current is not None and current.subject == proposal.subject:
        return _refresh(connection, current, proposal)
    if _is_silenced(connection, proposal, policy):
        return None
    if current is not None:
        missions.supersede(
            connection, current.id, f"Replaced by a proposal about {proposal.subject}."
        )
    return _raise(connection, proposal)


def _values(proposal: Proposal) -> dict[str, Any]:
    related = {
        "jobs": proposal.job_ids,
        "models": proposal.model_ids,
        "datasets": proposal.dataset_ids,
    }
    kept = {"reasoning", "action", "expects"}
    return {
        **proposal.model_dump(
            mode="json",
            by_alias=False,
            exclude={"reasoning", "action", "expects", "job_ids", "model_ids", "dataset_ids"},
        ),
        **{name: getattr(proposal, name).model_dump(mode="json") for name in kept},
        "related": related,
        "type": MISSION_TYPES[proposal.watcher],
        "updated_at": now(),
    }


def _raise(connection: Connection, proposal: Proposal) -> MissionDetail:
    mission_id = new_id("mission")
    status = lifecycles.MISSION.initial
    values = _values(proposal)
    connection.execute(
        table.insert().values(
            id=mission_id, status=status, version=1, created_at=values["updated_at"], **values
        )
    )
    missions.tell(
        connection, mission_id, "mission.created", proposal.project_name, proposal.watcher
    )
    return missions.get(connection, mission_id)


def _refresh(connection: Connection, current: Row[Any], proposal: Proposal) -> MissionDetail:
    values = _values(proposal)
    known = {name: current._mapping[name] for name in values if name != "updated_at"}
    if known != {name: value for name, value in values.items() if name != "updated_at"}:
        connection.execute(
            table.update()
            .where(table.c.id == current.id)
            .values(version=current.version + 1, **values)
        )
        missions.tell(
            connection, current.id, "mission.updated", proposal.project_name, proposal.watcher
        )
    return missions.get(connection, current.id)


def _is_silenced(connection: Connection, proposal: Proposal, policy: MissionPolicy) -> bool:
    if policy.quiet_hours is not None and policy.quiet_hours.holds(now().time()):
        return True
    last = connection.execute(
        select(table)
        .where(
            table.c.project_name == proposal.project_name,
            table.c.watcher == proposal.watcher,
            table.c.subject == proposal.subject,
            table.c.status.in_([MissionStatus.REJECTED, MissionStatus.APPROVED]),
        )
        .order_by(table.c.decided_at.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return False
    if last.status == MissionStatus.APPROVED and last.execution_status in missions.UNDER_WAY:
        return True
    if last.status == MissionStatus.APPROVED and last.type != "alert":
        # What was carried out once is proposed anew only by other evidence.
        return bool(proposal.magnitude <= last.magnitude)
    return bool(proposal.magnitude < last.magnitude * (1 + policy.growth_after_rejection))


@write
def withdraw(connection: Connection, project_name: str, watcher: Watcher, because: str) -> bool:
    """Close a watcher's open mission, if there is one; whether there was."""
    current = open_row(connection, project_name, watcher)
    if current is None:
        return False
    missions.supersede(connection, current.id, because)
    return True


def open_row(connection: Connection, project_name: str, watcher: Watcher) -> Row[Any] | None:
    """The open mission of a watcher in a project."""
    query = select(table).where(
        table.c.project_name == project_name,
        table.c.watcher == watcher,
        table.c.status == MissionStatus.PENDING_APPROVAL,
    )
    return connection.execute(query).one_or_none()
