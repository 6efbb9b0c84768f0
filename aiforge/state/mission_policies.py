"""What is watched in each project, where it differs from the shipped policy."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String, Table, select

from aiforge.schemas.missions import MissionPolicy
from aiforge.state import events
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, upsert

mission_policies = Table(
    "mission_policies",
    metadata,
    Column("project_name", String(100), primary_key=True),
    Column("policy", Json, nullable=False),
    Column("updated_by", String(200), nullable=False),
    Column("updated_at", Moment, nullable=False),
)


@read
def get(connection: Connection, project_name: str) -> MissionPolicy | None:
    """A project's own policy; ``None`` where it has none."""
    query = select(mission_policies.c.policy).where(mission_policies.c.project_name == project_name)
    stored = connection.execute(query).scalar_one_or_none()
    return None if stored is None else MissionPolicy.model_validate(stored)


@write
def put(connection: Connection, project_name: str, policy: MissionPolicy, by: str) -> MissionPolicy:
    """Replace a project's policy."""
    row = {
        "project_name": project_name,
        "policy": policy.model_dump(mode="json"),
        "updated_by": by,
        "updated_at": now(),
    }
    upsert(connection, mission_policies, [row])
    events.append(connection, "policy.changed", project_name, by=by)
    return policy
