"""The model registry: versions never change, one per project is active, history only grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
)

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.schemas.jobs import JobConfig
from aiforge.schemas.models import (
    Model,
    ModelAction,
    ModelChange,
    ModelMetrics,
    ModelStatus,
    latest_tag,
    ollama_repository,
    version_tag,
)
from aiforge.schemas.runs import Run
from aiforge.state import events, lifecycles, runs, validations
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, storable, to_model

PLATFORM = "platform"
"""Who registers models: no person, but the end of a training."""

models = Table(
    "models",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("project_name", String(100), nullable=False),
    # By which an Ollama server, and who chats, may call the project too.
    Column("repository", String(120), nullable=False),
    Column("version", Integer, nullable=False),
    Column("base_model", String(500), nullable=False),
    Column("method", String(16), nullable=False),
    Column("job_id", ForeignKey("runs.id"), nullable=False, unique=True),
    # No foreign key: a model outlives the dataset that it was trained on.
    Column("dataset_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("engine", String(16)),
    Column("digest", String(80)),
    Column("error", Text),
    Column("error_code", String(64)),
    Column("created_at", Moment, nullable=False),
    Column("deployed_at", Moment),
    Column("activated_at", Moment),
    # The row stays, so that no later version takes the number and the history leads somewhere.
    Column("deleted_at", Moment),
    UniqueConstraint("project_name", "version"),
    Index("ix_models_status", "status", "id"),
    Index("ix_models_repository", "repository"),
    Index(
        "uq_models_active",
        "project_name",
        unique=True,
        sqlite_where=text("status = 'active'"),
        postgresql_where=text("status = 'active'"),
    ),
)

model_changes = Table(
    "model_changes",
    metadata,
    Column(
        "sequence",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("at", Moment, nullable=False),
    Column("action", String(32), nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("previous_model_id", String(64)),
    Column("actor", String(200), nullable=False),
    Column("reason", Text),
    Column("run_id", String(64)),
    Column("detail", Json, nullable=False),
    Index("ix_model_changes_model_id", "model_id", "sequence"),
    Index("ix_model_changes_previous_model_id", "previous_model_id"),
    sqlite_autoincrement=True,
)

_ALIVE = models.c.deleted_at.is_(None)
_MODELS = select(models).where(_ALIVE)


class Trained(Wire):
    """The part of a training run's spec that its model is registered from."""

    project_name: str
    dataset_id: str
    base_model: str
    config: JobConfig


def register(connection: Connection, run: Run) -> str:
    """Register what a training run made, in the transaction that completes it; the model's id."""
    trained = Trained.model_validate(run.spec)
    query = select(func.max(models.c.version)).where(models.c.project_name == trained.project_name)
    version = (connection.execute(query).scalar_one() or 0) + 1
    model_id = new_id("model")
    status = lifecycles.MODEL.initial
    connection.execute(
        models.insert().values(
            id=model_id,
            name=f"{trained.project_name}-v{version}",
            project_name=trained.project_name,
            repository=ollama_repository(trained.project_name),
            version=version,
            base_model=trained.base_model,
            method=trained.config.method,
            job_id=run.id,
            dataset_id=trained.dataset_id,
            status=status,
            created_at=now(),
        )
    )
    facts = {"projectName": trained.project_name, "version": version, "jobId": run.id}
    events.append(connection, f"model.{status}", model_id, **facts)
    record(connection, "registered", model_id, actor=PLATFORM, run_id=run.id)
    return model_id


def change(connection: Connection, model_id: str, new: ModelStatus, **values: Any) -> None:
    """Change a model's status and append the event: the only place that does.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = row_of(connection, model_id)
    lifecycles.MODEL.require(model_id, ModelStatus(row.status), new)
    connection.execute(models.update().where(models.c.id == model_id).values(status=new, **values))
    facts = {"projectName": row.project_name, "version": row.version}
    if values.get("error"):
        facts |= {"error": values["error"], "errorCode": values.get("error_code")}
    events.append(connection, f"model.{new}", model_id, **facts)


def record(
    connection: Connection,
    action: ModelAction,
    model_id: str,
    *,
    actor: str,
    reason: str | None = None,
    run_id: str | None = None,
    previous_model_id: str | None = None,
    **detail: Any,
) -> None:
    """Add an entry to the history."""
    connection.execute(
        model_changes.insert().values(
            at=now(),
            action=action,
            model_id=model_id,
            previous_model_id=previous_model_id,
            actor=actor[:200],
            reason=None if reason is None else storable(reason),
            run_id=run_id,
            detail=detail,
        )
    )


def row_of(connection: Connection, model_id: str) -> Row[Any]:
    """The row of a model that was not deleted.

    Raises:
        NotFound: There is none.
    """
    row = connection.execute(_MODELS.where(models.c.id == model_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no model {model_id}.", code="model_not_found")
    return row


@read
def get(connection: Connection, model_id: str) -> Model:
    """One model.

    Raises:
        NotFound: There is no such model.
    """
    return _models(connection, [row_of(connection, model_id)])[0]


@read
def page(
    connection: Connection,
    limit: int,
    offset: int,
    project_name: str | None = None,
    status: ModelStatus | None = None,
) -> Listing[Model]:
    """Models, newest first; only of one project or status, where that is given."""
    query = _filtered(select(models), project_name, status)
    rows = connection.execute(query.order_by(models.c.id.desc()).limit(limit).offset(offset))
    number = _filtered(select(func.count()).select_from(models), project_name, status)
    return Listing[Model](
        items=_models(connection, rows.all()), total=connection.execute(number).scalar_one()
    )


def _filtered(
    query: Select[Any], project_name: str | None, status: ModelStatus | None
) -> Select[Any]:
    query = query.where(_ALIVE)
    if project_name is not None:
        query = query.where(models.c.project_name == project_name)
    return query if status is None else query.where(models.c.status == status)


@read
def active(connection: Connection, project_name: str | None = None) -> Model:
    """The active model of a project; of all projects the one that was activated last.

    Raises:
        NotFound: There is none (``no_active_model``).
    """
    query = _MODELS.where(models.c.status == ModelStatus.ACTIVE)
    if project_name is not None:
        query = query.where(models.c.project_name == project_name)
    row = connection.execute(query.order_by(models.c.activated_at.desc()).limit(1)).one_or_none()
    if row is None:
        whose = "No model" if project_name is None else f"No model of {project_name!r}"
        raise NotFound(
            f"{whose} is active; choose one from GET /models and activate it.",
            code="no_active_model",
        )
    return _models(connection, [row])[0]


@read
def of_job(connection: Connection, job_id: str) -> Model | None:
    """The model that a job trained; ``None`` where there is none, or it was deleted."""
    row = connection.execute(_MODELS.where(models.c.job_id == job_id)).one_or_none()
    return None if row is None else _models(connection, [row])[0]


@read
def history(connection: Connection, model_id: str) -> list[ModelChange]:
    """What was done to a model, or put another in its place, oldest first; kept for ever.

    Raises:
        NotFound: There never was such a model.
    """
    if connection.execute(select(models.c.id).where(models.c.id == model_id)).one_or_none() is None:
        raise NotFound(f"There is no model {model_id}.", code="model_not_found")
    columns = model_changes.c
    about = (columns.model_id == model_id) | (columns.previous_model_id == model_id)
    rows = connection.execute(select(model_changes).where(about).order_by(columns.sequence))
    return [to_model(ModelChange, row) for row in rows]


@write
def delete(connection: Connection, model_id: str, actor: str, reason: str | None) -> Model:
    """Delete a model that is not active; returns what it was.

    What its job left behind is the job's and stays, and so does its history.

    Raises:
        NotFound: There is no such model.
        Conflict: It is active (``model_is_active``), or something is being done to it.
    """
    model = get(connection, model_id)
    require_idle(connection, model)
    if model.status is ModelStatus.ACTIVE:
        raise Conflict(
            f"{model.name} is active; activate another version first, then delete it.",
            code="model_is_active",
        )
    connection.execute(models.update().where(models.c.id == model_id).values(deleted_at=now()))
    record(connection, "deleted", model_id, actor=actor, reason=reason)
    events.append(connection, "model.deleted", model_id, projectName=model.project_name)
    return model


def require_idle(connection: Connection, model: Model) -> None:
    """Refuse to do two things to a model at once.

    Raises:
        Conflict: A run works on it (``model_busy``).
    """
    run = runs.open_for(connection, model.id)
    if run is not None:
        raise Conflict(
            f"{run.id} is at work on {model.name}; wait until it has ended.",
            code="model_busy",
            runId=run.id,
        )


def _models(connection: Connection, rows: Sequence[Row[Any]]) -> list[Model]:
    measured = _metrics(connection, [row.job_id for row in rows])
    found = []
    for row in rows:
        values = dict(row._mapping) | {"metrics": measured.get(row.job_id, ModelMetrics())}
        if row.deployed_at is not None:
            is_active = row.status == ModelStatus.ACTIVE
            values["ollama_name"] = (
                latest_tag(row.project_name)
                if is_active
                else version_tag(row.project_name, row.version)
            )
        found.append(Model.model_validate(values))
    return found


def _metrics(connection: Connection, job_ids: Sequence[str]) -> dict[str, ModelMetrics]:
    """The newest measurements of what each job trained."""
    table = validations.validations
    rows = connection.execute(
        select(table.c.job_id, table.c.metrics)
        .where(table.c.job_id.in_(job_ids))
        .order_by(table.c.run_at)
    )
    return {
        row.job_id: ModelMetrics(
            codebleu=row.metrics.get("codebleu"),
            humaneval=row.metrics.get("humaneval"),
            perplexity=row.metrics.get("perplexity"),
            avg_latency=row.metrics.get("latency"),
        )
        for row in rows
    }
