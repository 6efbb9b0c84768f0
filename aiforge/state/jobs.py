"""Training jobs: runs of kind ``train`` with what a person wants to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
)

from aiforge.errors import NotFound
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.schemas.jobs import (
    FineTuneRequest,
    Job,
    JobConfig,
    JobMetricsHistory,
    JobStatus,
    Validation,
)
from aiforge.schemas.runs import LogLine, Resources, Run, RunKind
from aiforge.state import counts, datasets, logs, metrics, outcomes, projects, runs, validations
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", ForeignKey("runs.id"), primary_key=True),
    Column("project_name", String(100), nullable=False),
    Column("base_model", String(500), nullable=False),
    Column("method", String(16), nullable=False),
    # No foreign key: a job outlives the dataset that it was trained on.
    Column("dataset_id", String(64), nullable=False),
    Column("dataset_name", String(200), nullable=False),
    Column("config", Json, nullable=False),
    Index("ix_jobs_project_name", "project_name", "id"),
    Index("ix_jobs_dataset_id", "dataset_id"),
)


class TrainSpec(Wire):
    """What a run of kind ``train`` works from, frozen when it was queued."""

    project_name: str
    dataset_id: str
    base_model: str
    config: JobConfig


@write
def create(connection: Connection, request: FineTuneRequest, resources: Resources) -> Job:
    """Queue a training job.

    Raises:
        InvalidInput: The dataset does not exist.
        Conflict: The dataset is not ready.
    """
    dataset = datasets.require_ready(connection, request.dataset_id)
    config = JobConfig.model_validate(request.model_dump(include=set(JobConfig.model_fields)))
    job_id = new_id("job")
    spec = TrainSpec(
        project_name=request.project_name,
        dataset_id=dataset.id,
        base_model=request.base_model,
        config=config,
    )
    runs.create(
        connection,
        id=job_id,
        kind=RunKind.TRAIN,
        resource_id=job_id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
    )
    connection.execute(
        jobs.insert().values(
            id=job_id,
            project_name=request.project_name,
            base_model=request.base_model,
            method=config.method,
            dataset_id=dataset.id,
            dataset_name=dataset.name,
            config=config.model_dump(mode="json", by_alias=False),
        )
    )
    projects.claim(connection, [dataset.id], [request.project_name])
    return get(connection, job_id)


_RUN_COLUMNS = [
    runs.runs.c[name]
    for name in (
        "status",
        "progress",
        "stage",
        "queued_reason",
        "metrics",
        "result",
        "error",
        "error_code",
        "created_at",
        "started_at",
        "finished_at",
    )
]


# Statements are built once: building one costs more than running it.
_JOBS = select(jobs, *_RUN_COLUMNS).join_from(jobs, runs.runs, runs.runs.c.id == jobs.c.id)
_ONE = _JOBS.where(jobs.c.id == bindparam("job_id"))
_EXISTS = select(jobs.c.id).where(jobs.c.id == bindparam("job_id"))


def _job(row: Mapping[str, Any]) -> Job:
    figures = {"total_epochs": row["config"]["epochs"]} | row["metrics"]
    return Job.model_validate({**row, "metrics": figures})


@read
def get(connection: Connection, job_id: str) -> Job:
    """One job.

    Raises:
        NotFound: There is no such job.
    """
    row = connection.execute(_ONE, {"job_id": job_id}).one_or_none()
    if row is None:
        raise _not_found(job_id)
    return _job(row._mapping)  # type: ignore[arg-type]


def _not_found(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id}.", code="job_not_found")


def _require(connection: Connection, job_id: str) -> None:
    if connection.execute(_EXISTS, {"job_id": job_id}).one_or_none() is None:
        raise _not_found(job_id)


@read
def history(connection: Connection, job_id: str, after_step: int = -1) -> JobMetricsHistory:
    """The curves of a job; raises ``NotFound`` as ``get`` does."""
    _require(connection, job_id)
    return metrics.history(connection, job_id, after_step)


@read
def log_tail(connection: Connection, job_id: str, limit: int) -> list[LogLine]:
    """The last lines of a job's log; raises ``NotFound`` as ``get`` does."""
    _require(connection, job_id)
    return logs.tail(connection, job_id, limit)


@read
def validation(connection: Connection, job_id: str) -> Validation:
    """What was measured of a job.

    Raises:
        NotFound: There is no such job, or nothing was measured of it yet.
    """
    _require(connection, job_id)
    return validations.get(connection, job_id)


@write
def cancel(connection: Connection, job_id: str) -> Run:
    """Ask for a job to be cancelled; raises as ``get`` and ``outcomes.cancel`` do."""
    _require(connection, job_id)
    return outcomes.cancel(connection, job_id)


@read
def page(
    connection: Connection,
    limit: int,
    offset: int,
    status: JobStatus | None = None,
    project_name: str | None = None,
) -> Listing[Job]:
    """Jobs, newest first; only of one status or project, where that is given."""
    ids = _ids(status, project_name)
    # The ids come from an index alone, so that a far offset passes over no rows.
    chosen = ids.order_by(ids.selected_columns[0].desc()).limit(limit).offset(offset).subquery()
    query = _JOBS.join(chosen, chosen.c.id == jobs.c.id).order_by(jobs.c.id.desc())
    items = [_job(row._mapping) for row in connection.execute(query)]  # type: ignore[arg-type]
    if project_name is None:
        total = counts.total(connection, RunKind.TRAIN, *([status] if status else []))
    else:
        total = connection.execute(select(func.count()).select_from(ids.subquery())).scalar_one()
    return Listing[Job](items=items, total=total)


def _ids(status: JobStatus | None, project_name: str | None) -> Select[Any]:
    """Ids of the jobs that the filters match, from the table whose index they use."""
    if status is None:
        query = select(jobs.c.id)
    elif project_name is None:
        query = select(runs.runs.c.id).where(runs.runs.c.kind == RunKind.TRAIN)
    else:
        query = select(jobs.c.id).join(runs.runs, runs.runs.c.id == jobs.c.id)
    if status is not None:
        query = query.where(runs.runs.c.status == status)
    if project_name is not None:
        query = query.where(jobs.c.project_name == project_name)
    return query


@read
def number(connection: Connection, *statuses: JobStatus) -> int:
    """How many jobs have one of the statuses."""
    return counts.total(connection, RunKind.TRAIN, *statuses)


def training_on(connection: Connection, dataset_id: str) -> str | None:
    """Id of a job that is still under way on a dataset, if there is one."""
    query = (
        select(jobs.c.id)
        .join(runs.runs, runs.runs.c.id == jobs.c.id)
        .where(jobs.c.dataset_id == dataset_id, runs.runs.c.status.in_(runs.OPEN))
    )
    found: str | None = connection.execute(query.limit(1)).scalar_one_or_none()
    return found
