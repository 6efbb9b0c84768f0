"""What answers for which model, and from which file."""

from __future__ import annotations

import re

from sqlalchemy import Connection, select

from aiforge.errors import NotFound
from aiforge.schemas.common import Wire
from aiforge.schemas.exports import Export
from aiforge.schemas.models import Engine, Model, ModelStatus, latest_tag, version_tag
from aiforge.state import exports, models, runs
from aiforge.state.models import model_changes
from aiforge.state.ops import read


class Served(Wire):
    """How an engine is asked for a model; ``digest`` is ``None`` where Ollama has no part in it."""

    model: Model
    tag: str
    latest: str
    digest: str | None

    @property
    def engine(self) -> Engine:
        """What answers for it."""
        if self.model.engine is not None:
            return self.model.engine
        return "llama.cpp" if self.model.deployed_at is None else "ollama"


@read
def served(connection: Connection, model_id: str) -> Served:
    """How a model is asked for; raises ``NotFound`` as ``models.get`` does."""
    row = models.row_of(connection, model_id)
    return Served(
        model=models.get(connection, model_id),
        tag=version_tag(row.project_name, row.version),
        latest=latest_tag(row.project_name),
        digest=row.digest,
    )


@read
def active(connection: Connection) -> list[Served]:
    """Every active model, those that were activated last first."""
    table = models.models
    rows = connection.execute(
        select(table.c.id)
        .where(table.c.status == ModelStatus.ACTIVE)
        .order_by(table.c.activated_at.desc())
    )
    return [served(connection, row.id) for row in rows]


@read
def find(connection: Connection, name: str) -> Served:
    """The model of a name: its id, its project's (whose active version is meant), what Ollama
    calls it, or its own.

    Raises:
        NotFound: There is none.
    """
    table = models.models
    repository, _, tag = name.partition(":")
    is_active = table.c.status == ModelStatus.ACTIVE
    version = int(tag[1:]) if re.fullmatch(r"v[0-9]{1,9}", tag) else 0
    conditions = [
        table.c.id == name,
        (table.c.project_name == name) & is_active,
        (table.c.repository == repository) & (table.c.version == version),
        table.c.name == name,
    ]
    if tag in ("", "latest"):
        conditions.append((table.c.repository == repository) & is_active)
    for condition in conditions:
        query = select(table.c.id).where(condition, table.c.deleted_at.is_(None))
        if found := connection.execute(query.limit(1)).scalar_one_or_none():
            return served(connection, found)
    raise NotFound(
        f"No model is called {name[:100]!r}, and no project of that name has an active one; "
        "GET /v1/models lists those that have.",
        code="model_not_found",
    )


def served_from(connection: Connection, export: Export) -> Model | None:
    """The model that needs the files of an export: to answer, or to be deployed at this moment."""
    model = models.of_job(connection, export.job_id)
    if model is None or export.format != "gguf":
        return None
    if runs.open_for(connection, model.id) is not None:
        return model
    if model.deployed_at is not None:
        needed = _deployed_export(connection, model)
    elif model.status is ModelStatus.ACTIVE:
        newest = exports.newest(connection, model.job_id)
        needed = None if newest is None else newest.export_id
    else:
        needed = None
    return model if needed == export.export_id else None


def _deployed_export(connection: Connection, model: Model) -> str | None:
    """The export that the last deployment of a model sent to the server."""
    columns = model_changes.c
    query = (
        select(runs.runs.c.result)
        .join_from(model_changes, runs.runs, runs.runs.c.id == columns.run_id)
        .where(columns.model_id == model.id, columns.action == "deployed")
        .order_by(columns.sequence.desc())
        .limit(1)
    )
    result = connection.execute(query).scalar_one_or_none() or {}
    found: str | None = result.get("facts", {}).get("file", {}).get("exportId")
    return found
