"""Missions: their table, how they are shown, and what a person decides.

``proposals`` raises and refreshes them, ``executions`` follows what was approved.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

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
from aiforge.schemas.missions import (
    ArtifactLink,
    Decision,
    Execution,
    ExecutionStatus,
    Mission,
    MissionDetail,
    MissionList,
    MissionStatus,
    MissionType,
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


UNDER_WAY = (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)


def tell(
    connection: Connection, mission_id: str, event: str, project: str, watcher: str, **data: Any
) -> None:
    """Append an event about a mission."""
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
    tell(connection, mission_id, f"mission.{new}", row.project_name, row.watcher, **facts)


def supersede(connection: Connection, mission_id: str, because: str) -> None:
    """Close an open mission whose reason is gone."""
    change(connection, mission_id, MissionStatus.SUPERSEDED, superseded_because=because)


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


def detail(connection: Connection, row: Row[Any]) -> MissionDetail:
    """A mission as the API shows it, from its row."""
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
    return detail(connection, row_of(connection, mission_id))


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
    return [detail(connection, row) for row in rows]


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
