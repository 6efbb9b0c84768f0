"""Missions: proposals of the watchers, decisions of people, and what came of them.

At most one mission of each watcher is open in a project; a unique index holds that. What a
watcher finds again updates the open mission; what was rejected stays silent until the evidence
has grown.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    func,
    select,
    text,
)

from aiforge.errors import NotFound
from aiforge.schemas.common import Wire, new_id
from aiforge.schemas.missions import (
    MISSION_TYPES,
    ArtifactLink,
    Decision,
    Execution,
    ExecutionStatus,
    Mission,
    MissionDetail,
    MissionList,
    MissionPolicy,
    MissionStatus,
    MissionType,
    Outcome,
    Priority,
    Reasoning,
    RecommendedAction,
    Watcher,
)
from aiforge.state import artifacts, events, lifecycles
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now

missions = Table(
    "missions",
    metadata,
    Column("id", String(64), primary_key=True),
    # An empty text where a mission is about the platform itself: null would not be unique.
    Column("project_name", String(100), nullable=False),
    Column("watcher", String(32), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("type", String(16), nullable=False),
    Column("status", String(20), nullable=False),
    Column("priority", String(8), nullable=False),
    Column("confidence", Integer, nullable=False),
    Column("magnitude", Float, nullable=False),
    Column("title", String(300), nullable=False),
    Column("description", Text, nullable=False),
    Column("reasoning", Json, nullable=False),
    Column("action", Json, nullable=False),
    Column("expects", Json, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("related", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("decision", Json),
    Column("execution", Json),
    Column("execution_status", String(16)),
    Column("outcome", Json),
    Column("superseded_because", Text),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Index("ix_missions_status", "status", "id"),
    Index("ix_missions_project_name", "project_name", "watcher", "id"),
    Index("ix_missions_execution_status", "execution_status"),
    Index(
        "uq_missions_open",
        "project_name",
        "watcher",
        unique=True,
        sqlite_where=text("status = 'pending_approval'"),
        postgresql_where=text("status = 'pending_approval'"),
    ),
)

MOST_ARTIFACTS = 50

PLATFORM = ""
"""In place of a project's name, where a mission is about the platform itself."""


NO_MODEL = ""
"""In place of the active model's id, where no model of the project may be active."""


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
            supersede(
                connection, current.id, "The evidence no longer reaches the confidence asked."
            )
        return None
    if current is not None and current.subject == proposal.subject:
        return _refresh(connection, current, proposal)
    if _is_silenced(connection, proposal, policy):
        return None
    if current is not None:
        supersede(connection, current.id, f"Replaced by a proposal about {proposal.subject}.")
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
        missions.insert().values(
            id=mission_id, status=status, version=1, created_at=values["updated_at"], **values
        )
    )
    _tell(connection, mission_id, "mission.created", proposal.project_name, proposal.watcher)
    return get(connection, mission_id)


def _refresh(connection: Connection, current: Row[Any], proposal: Proposal) -> MissionDetail:
    values = _values(proposal)
    known = {name: current._mapping[name] for name in values if name != "updated_at"}
    if known != {name: value for name, value in values.items() if name != "updated_at"}:
        connection.execute(
            missions.update()
            .where(missions.c.id == current.id)
            .values(version=current.version + 1, **values)
        )
        _tell(connection, current.id, "mission.updated", proposal.project_name, proposal.watcher)
    return get(connection, current.id)


def _is_silenced(connection: Connection, proposal: Proposal, policy: MissionPolicy) -> bool:
    if policy.quiet_hours is not None and policy.quiet_hours.holds(now().time()):
        return True
    last = connection.execute(
        select(missions)
        .where(
            missions.c.project_name == proposal.project_name,
            missions.c.watcher == proposal.watcher,
            missions.c.subject == proposal.subject,
            missions.c.status.in_([MissionStatus.REJECTED, MissionStatus.APPROVED]),
        )
        .order_by(missions.c.decided_at.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return False
    if last.status == MissionStatus.APPROVED and last.execution_status in UNDER_WAY:
        return True
    if last.status == MissionStatus.APPROVED and last.type != "alert":
        # What was carried out once is proposed anew only by other evidence.
        return bool(proposal.magnitude <= last.magnitude)
    return bool(proposal.magnitude < last.magnitude * (1 + policy.growth_after_rejection))


UNDER_WAY = (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)


def _tell(
    connection: Connection, mission_id: str, event: str, project: str, watcher: str, **data: Any
) -> None:
    facts = {"projectName": project or None, "watcher": watcher, **data}
    events.append(connection, event, mission_id, **facts)


def change(connection: Connection, mission_id: str, new: MissionStatus, **values: Any) -> None:
    """Change a mission's status and append the event: the only place that does.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = row_of(connection, mission_id)
    lifecycles.MISSION.require(mission_id, MissionStatus(row.status), new)
    connection.execute(
        missions.update()
        .where(missions.c.id == mission_id)
        .values(status=new, updated_at=now(), **values)
    )
    facts = {"by": values["decision"]["by"]} if "decision" in values else {}
    _tell(connection, mission_id, f"mission.{new}", row.project_name, row.watcher, **facts)


def supersede(connection: Connection, mission_id: str, because: str) -> None:
    """Close an open mission whose reason is gone."""
    change(connection, mission_id, MissionStatus.SUPERSEDED, superseded_because=because)


@write
def withdraw(connection: Connection, project_name: str, watcher: Watcher, because: str) -> bool:
    """Close a watcher's open mission, if there is one; whether there was."""
    current = open_row(connection, project_name, watcher)
    if current is None:
        return False
    supersede(connection, current.id, because)
    return True


def open_row(connection: Connection, project_name: str, watcher: Watcher) -> Row[Any] | None:
    """The open mission of a watcher in a project."""
    query = select(missions).where(
        missions.c.project_name == project_name,
        missions.c.watcher == watcher,
        missions.c.status == MissionStatus.PENDING_APPROVAL,
    )
    return connection.execute(query).one_or_none()


def row_of(connection: Connection, mission_id: str) -> Row[Any]:
    """A mission's row.

    Raises:
        NotFound: There is no such mission.
    """
    row = connection.execute(select(missions).where(missions.c.id == mission_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no mission {mission_id}.", code="mission_not_found")
    return row


def _brief(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "project_name": row.project_name or None}


def _detail(connection: Connection, row: Row[Any]) -> MissionDetail:
    related = row.related
    return MissionDetail.model_validate(
        _brief(row)
        | {
            "recommended_action": row.action,
            "artifacts": _links(connection, row.id),
            "related_job_ids": related["jobs"],
            "related_model_ids": related["models"],
            "related_dataset_ids": related["datasets"],
        }
    )


def _links(connection: Connection, mission_id: str) -> list[ArtifactLink]:
    found = artifacts.page(connection, MOST_ARTIFACTS, 0, mission_id).items
    return [
        ArtifactLink(id=one.id, type=one.type, name=one.name, url=f"/artifacts/{one.id}")
        for one in reversed(found)
    ]


@read
def get(connection: Connection, mission_id: str) -> MissionDetail:
    """One mission.

    Raises:
        NotFound: There is no such mission.
    """
    return _detail(connection, row_of(connection, mission_id))


@read
def page(
    connection: Connection,
    limit: int,
    offset: int,
    status: MissionStatus | None = None,
    type: MissionType | None = None,
    project_name: str | None = None,
) -> MissionList:
    """Missions, newest first; only of one status, type or project, where that is given."""
    query = select(missions)
    if status is not None:
        query = query.where(missions.c.status == status)
    if type is not None:
        query = query.where(missions.c.type == type)
    if project_name is not None:
        query = query.where(missions.c.project_name == project_name)
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(query.order_by(missions.c.id.desc()).limit(limit).offset(offset))
    is_pending = missions.c.status == MissionStatus.PENDING_APPROVAL
    pending = connection.execute(
        select(func.count()).select_from(missions).where(is_pending)
    ).scalar_one()
    found = [Mission.model_validate(_brief(row)) for row in rows]
    return MissionList(missions=found, total=total, pending=pending)


@read
def pending(connection: Connection) -> list[MissionDetail]:
    """All missions that wait for a decision, oldest first."""
    rows = connection.execute(
        select(missions)
        .where(missions.c.status == MissionStatus.PENDING_APPROVAL)
        .order_by(missions.c.id)
    ).all()
    return [_detail(connection, row) for row in rows]


@write
def reject(connection: Connection, mission_id: str, by: str, reason: str) -> MissionDetail:
    """Decline a mission.

    Raises:
        NotFound: There is no such mission.
        Conflict: It is decided already.
    """
    decision = Decision(by=by, at=now(), comment=reason)
    change(
        connection,
        mission_id,
        MissionStatus.REJECTED,
        decision=decision.model_dump(mode="json"),
        decided_at=decision.at,
    )
    return get(connection, mission_id)


def accept(connection: Connection, mission_id: str, decision: Decision) -> None:
    """Approve a mission; its action is then carried out, once."""
    execution = Execution(status=lifecycles.EXECUTION.initial)
    change(
        connection,
        mission_id,
        MissionStatus.APPROVED,
        decision=decision.model_dump(mode="json"),
        decided_at=decision.at,
        execution=execution.model_dump(mode="json"),
        execution_status=execution.status,
    )


@read
def executing(connection: Connection) -> list[MissionDetail]:
    """The approved missions whose action is not done, oldest decision first."""
    rows = connection.execute(
        select(missions)
        .where(missions.c.execution_status.in_(UNDER_WAY))
        .order_by(missions.c.decided_at, missions.c.id)
    ).all()
    return [_detail(connection, row) for row in rows]


@read
def unmeasured(connection: Connection) -> list[MissionDetail]:
    """Missions whose training or deployment is done and whose outcome is not measured yet."""
    rows = connection.execute(
        select(missions)
        .where(
            missions.c.execution_status == ExecutionStatus.COMPLETED,
            missions.c.watcher == "retrain",
            missions.c.outcome.is_(None),
        )
        .order_by(missions.c.id)
    ).all()
    return [_detail(connection, row) for row in rows]


@read
def measured_for(connection: Connection, model_id: str) -> MissionDetail | None:
    """The retrain mission that led to a model, once its outcome is measured."""
    rows = connection.execute(
        select(missions)
        .where(
            missions.c.watcher == "retrain",
            missions.c.execution_status == ExecutionStatus.COMPLETED,
            missions.c.outcome.is_not(None),
        )
        .order_by(missions.c.id.desc())
    )
    led = (row for row in rows if row.execution["modelId"] == model_id)
    row = next(led, None)
    return None if row is None else _detail(connection, row)


@read
def awaiting_outcome(connection: Connection, model_id: str) -> bool:
    """Whether a retrain mission led to a model and its outcome is still to be measured."""
    return any(
        mission.execution is not None and mission.execution.model_id == model_id
        for mission in unmeasured(connection)
    )


@write
def move(
    connection: Connection, mission_id: str, expected_step: str | None, execution: Execution
) -> MissionDetail:
    """Note how far an execution is: the only place that does.

    Nothing happens where it is not at ``expected_step`` any more: somebody else was first.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = row_of(connection, mission_id)
    current = Execution.model_validate(row.execution)
    if current.step != expected_step or current.status in lifecycles.EXECUTION.terminal:
        return _detail(connection, row)
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
        missions.update()
        .where(missions.c.id == mission_id)
        .values(
            execution=stored.model_dump(mode="json"),
            execution_status=stored.status,
            updated_at=moment,
        )
    )
    facts = {"jobId": stored.job_id, "modelId": stored.model_id, "error": stored.error}
    _tell(
        connection,
        mission_id,
        f"mission.execution_{stored.status}",
        row.project_name,
        row.watcher,
        step=stored.step,
        **{name: value for name, value in facts.items() if value},
    )
    return get(connection, mission_id)


@write
def record_outcome(connection: Connection, mission_id: str, outcome: Outcome) -> None:
    """Store what an executed mission changed; the first measurement stands."""
    row = row_of(connection, mission_id)
    if row.outcome is not None:
        return
    connection.execute(
        missions.update()
        .where(missions.c.id == mission_id)
        .values(outcome=outcome.model_dump(mode="json"), updated_at=now())
    )
    _tell(connection, mission_id, "mission.measured", row.project_name, row.watcher)


@read
def automatic_since(connection: Connection, project_name: str, since: datetime) -> int:
    """How many missions of a project were approved without a person since a moment."""
    rows = connection.execute(
        select(missions.c.decision).where(
            missions.c.project_name == project_name,
            missions.c.status == MissionStatus.APPROVED,
            missions.c.decided_at >= since,
        )
    )
    return sum(1 for (decision,) in rows if decision["automatic"])


DAY = timedelta(days=1)
