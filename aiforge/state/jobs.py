"""Training jobs: runs of kind ``train`` with what a person wants to know of them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Row,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
)

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.common import JsonListing, Listing, Wire, new_id
from aiforge.schemas.jobs import (
    FineTuneRequest,
    Job,
    JobConfig,
    JobMetricsHistory,
    JobStatus,
    Validation,
)
from aiforge.schemas.runs import LogLine, Resources, Run, RunKind, RunStatus
from aiforge.state import (
    counts,
    datasets,
    logs,
    metrics,
    models,
    outcomes,
    projects,
    runs,
    validations,
)
from aiforge.state.ops import read, repeatable, scan, write
from aiforge.state.prepared import Prepared
from aiforge.state.schema import Json, Moment, in_utc, metadata, raw
from aiforge.state.validations import ValidateSpec

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


class Queued(Wire):
    """A job that was queued just now."""

    id: str
    status: RunStatus


@write
def create(connection: Connection, request: FineTuneRequest, resources: Resources) -> Queued:
    """Queue a training job.

    Raises:
        InvalidInput: The dataset does not exist.
        Conflict: The dataset is not ready.
    """
    dataset = datasets.require_ready(connection, request.dataset_id)
    config = request.hyperparameters
    job_id = new_id("job")
    spec = TrainSpec(
        project_name=request.project_name,
        dataset_id=dataset.id,
        base_model=request.base_model,
        config=config,
    )
    run = runs.create(
        connection,
        id=job_id,
        kind=RunKind.TRAIN,
        resource_id=job_id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
    )
    row = {
        "id": job_id,
        "project_name": request.project_name,
        "base_model": request.base_model,
        "method": config.method,
        "dataset_id": dataset.id,
        "dataset_name": dataset.name,
        "config": config.model_dump(mode="json", by_alias=False),
    }
    _INSERT(connection, row)
    projects.claim(connection, [dataset.id], [request.project_name])
    return Queued(id=job_id, status=run.status)


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
_RAW_JOBS = select(*map(raw, _JOBS.selected_columns)).join_from(
    jobs, runs.runs, runs.runs.c.id == jobs.c.id
)
_NAMES = tuple(_JOBS.selected_columns.keys())
_ONE = _JOBS.where(jobs.c.id == bindparam("job_id"))
_INSERT = Prepared(jobs.insert(), jobs.c.keys())
_EXISTS = select(jobs.c.id).where(jobs.c.id == bindparam("job_id"))


def _job(row: Row[Any]) -> Job:
    return _from_values(dict(zip(_NAMES, row, strict=True)))


def _from_values(values: dict[str, Any]) -> Job:
    values["metrics"] = {"total_epochs": values["config"]["epochs"], **values["metrics"]}
    return Job.model_validate(values)


@read
def get(connection: Connection, job_id: str) -> Job:
    """One job.

    Raises:
        NotFound: There is no such job.
    """
    row = connection.execute(_ONE, {"job_id": job_id}).one_or_none()
    if row is None:
        raise _not_found(job_id)
    return _job(row)


def _not_found(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id}.", code="job_not_found")


def _require(connection: Connection, job_id: str) -> None:
    if connection.execute(_EXISTS, {"job_id": job_id}).one_or_none() is None:
        raise _not_found(job_id)


@read
def factor_seed(connection: Connection, job_id: str) -> int:
    """Seed of the PiSSA factors that a job trained on: that of the first in its line of jobs."""
    job = get(connection, job_id)
    while job.config.resume_from is not None:
        job = get(connection, job.config.resume_from)
    return job.config.seed


@scan
def history(connection: Connection, job_id: str, after_step: int = -1) -> JobMetricsHistory:
    """The curves of a job; raises ``NotFound`` as ``get`` does."""
    _require(connection, job_id)
    return metrics.history(connection, job_id, after_step)


@scan
def log_tail(connection: Connection, job_id: str, limit: int) -> list[LogLine]:
    """The last lines of a job's log; raises ``NotFound`` as ``get`` does."""
    _require(connection, job_id)
    return logs.tail(connection, job_id, limit)


@read
def validation(connection: Connection, job_id: str) -> Validation:
    """What was measured of a job; raises as ``get`` and ``validations.get`` do."""
    _require(connection, job_id)
    return validations.get(connection, job_id)


@write
def validate(
    connection: Connection,
    job_id: str,
    policy: str | None = None,
    exam_items: int | None = None,
) -> Run:
    """Queue a validation of what a job trained; one that is under way already is returned.

    Raises:
        NotFound: There is no such job.
        Conflict: It has not completed.
    """
    _require(connection, job_id)
    trained = runs.get(connection, job_id)
    if trained.status is not RunStatus.COMPLETED:
        raise Conflict(
            f"{job_id} is {trained.status}; only what was trained to its end can be validated.",
            code=f"job_is_{trained.status}",
            status=str(trained.status),
        )
    newest = validations.newest_run(connection, job_id)
    if newest is not None and newest.status in runs.OPEN:
        return newest
    model = models.of_job(connection, job_id)
    spec = trained.spec | {
        "job_id": job_id,
        "model_id": None if model is None else model.id,
        "policy": policy,
        "exam_items": exam_items,
    }
    return validations.queue(connection, ValidateSpec.model_validate(spec), trained)


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
    queries = _queries(status is not None, project_name is not None)
    filters = {"status": status, "project_name": project_name}
    rows = connection.execute(queries.page, filters | {"limit": limit, "offset": offset})
    return Listing[Job](
        items=[_job(row) for row in rows], total=_total(connection, queries, filters)
    )


@repeatable
@read
def page_json(
    connection: Connection,
    limit: int,
    offset: int,
    status: JobStatus | None = None,
    project_name: str | None = None,
) -> JsonListing:
    """As ``page``, as JSON: what a list costs is mostly the way from rows to objects and on."""
    queries = _queries(status is not None, project_name is not None)
    filters = {"status": status, "project_name": project_name}
    rows = connection.execute(queries.raw_page, filters | {"limit": limit, "offset": offset})
    items = b",".join([_json(tuple(row)) for row in rows])
    return JsonListing(body=b"[" + items + b"]", total=_total(connection, queries, filters))


@lru_cache(maxsize=4096)
def _json(row: tuple[Any, ...]) -> bytes:
    """A row of ``_RAW_JOBS`` as JSON; most jobs have ended, and their rows come again and again."""
    values = dict(zip(_NAMES, row, strict=True))
    for name, column in zip(_NAMES, _JOBS.selected_columns, strict=True):
        if column.type is Json:
            values[name] = from_json(values[name])
        elif isinstance(column.type, Moment):
            values[name] = in_utc(values[name])
    return _from_values(values).model_dump_json().encode()


def _total(connection: Connection, queries: _Queries, filters: dict[str, Any]) -> int:
    if filters["project_name"] is None:
        status = filters["status"]
        return counts.total(connection, RunKind.TRAIN, *([status] if status else []))
    return int(connection.execute(queries.number, filters).scalar_one())


class _Queries(NamedTuple):
    """A page of the jobs that some filters match, the same without conversion, and their number."""

    page: Select[Any]
    raw_page: Select[Any]
    number: Select[Any]


@cache
def _queries(by_status: bool, by_project: bool) -> _Queries:
    ids = _ids(by_status, by_project)
    # The ids come from an index alone, so that a far offset passes over no rows.
    newest = ids.order_by(ids.selected_columns[0].desc())
    chosen = newest.limit(bindparam("limit")).offset(bindparam("offset")).subquery()

    def of(rows: Select[Any]) -> Select[Any]:
        return rows.join(chosen, chosen.c.id == jobs.c.id).order_by(jobs.c.id.desc())

    return _Queries(of(_JOBS), of(_RAW_JOBS), select(func.count()).select_from(ids.subquery()))


def _ids(by_status: bool, by_project: bool) -> Select[Any]:
    """Ids of the jobs that the filters match, from the table whose index they use."""
    if not by_status:
        query = select(jobs.c.id)
    elif not by_project:
        query = select(runs.runs.c.id).where(runs.runs.c.kind == RunKind.TRAIN)
    else:
        query = select(jobs.c.id).join(runs.runs, runs.runs.c.id == jobs.c.id)
    if by_status:
        query = query.where(runs.runs.c.status == bindparam("status"))
    if by_project:
        query = query.where(jobs.c.project_name == bindparam("project_name"))
    return query


@read
def project_names(connection: Connection) -> list[str]:
    """Names of all projects that ever had a job, sorted."""
    return sorted(connection.execute(select(jobs.c.project_name).distinct()).scalars())


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
