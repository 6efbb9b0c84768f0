"""Artifacts: their rows. The content lies in the storage, addressed by its hash."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    func,
    select,
)

from aiforge.errors import NotFound
from aiforge.schemas.artifacts import Artifact, ArtifactType
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.state import events, runs
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, storable, to_model

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner_id", String(64), nullable=False),
    Column("type", String(16), nullable=False),
    Column("name", String(200), nullable=False),
    Column("mime_type", String(100), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("resource_ids", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("owner_id", "name"),
)

artifact_resources = Table(
    "artifact_resources",
    metadata,
    Column("resource_id", String(64), primary_key=True),
    Column("artifact_id", ForeignKey("artifacts.id"), primary_key=True),
    Index("ix_artifact_resources_artifact_id", "artifact_id"),
)

_ONE = select(artifacts).where(artifacts.c.id == bindparam("artifact_id"))


class NewArtifact(Wire):
    """An artifact whose content is stored already."""

    owner_id: str
    type: ArtifactType
    name: str
    mime_type: str
    size: int
    sha256: str
    resource_ids: list[str]


@write
def record(connection: Connection, new: NewArtifact, attempt: int | None = None) -> Artifact:
    """Store an artifact; in the place of the one that its owner made under the same name.

    Args:
        attempt: Of the run that owns it; ``None`` where the owner is no run.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    if attempt is not None:
        runs.require_attempt(connection, new.owner_id, attempt)
    values = new.model_dump(by_alias=False) | {"name": storable(new.name), "created_at": now()}
    known = connection.execute(
        select(artifacts.c.id).where(
            artifacts.c.owner_id == new.owner_id, artifacts.c.name == values["name"]
        )
    ).scalar_one_or_none()
    artifact_id: str = known or new_id("art")
    if known:
        of_known = artifact_resources.c.artifact_id == known
        connection.execute(artifact_resources.delete().where(of_known))
        connection.execute(artifacts.update().where(artifacts.c.id == known).values(**values))
    else:
        connection.execute(artifacts.insert().values(id=artifact_id, **values))
    links = [
        {"resource_id": one, "artifact_id": artifact_id} for one in dict.fromkeys(new.resource_ids)
    ]
    if links:
        connection.execute(artifact_resources.insert(), links)
    happened = "artifact.replaced" if known else "artifact.created"
    events.append(connection, happened, artifact_id, ownerId=new.owner_id)
    return get(connection, artifact_id)


@read
def get(connection: Connection, artifact_id: str) -> Artifact:
    """One artifact.

    Raises:
        NotFound: There is no such artifact.
    """
    row = connection.execute(_ONE, {"artifact_id": artifact_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no artifact {artifact_id}.", code="artifact_not_found")
    return to_model(Artifact, row)


@read
def page(
    connection: Connection, limit: int, offset: int, resource_id: str | None = None
) -> Listing[Artifact]:
    """Artifacts, newest first; only those about one resource, where that is given."""
    query = select(artifacts)
    number: Any = select(func.count()).select_from(artifacts)
    if resource_id is not None:
        about = artifact_resources.c.resource_id == resource_id
        query = query.join(artifact_resources).where(about)
        number = select(func.count()).select_from(artifact_resources).where(about)
    rows = connection.execute(query.order_by(artifacts.c.id.desc()).limit(limit).offset(offset))
    return Listing[Artifact](
        items=[to_model(Artifact, row) for row in rows],
        total=connection.execute(number).scalar_one(),
    )
