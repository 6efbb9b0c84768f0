"""Exports: what was made of a job's model, for which program, and that it was compared."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    case,
    func,
    select,
)

from aiforge.errors import Conflict, InvalidInput, NotFound
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.schemas.exports import (
    FLOAT_QUANTIZATIONS,
    Export,
    ExportFile,
    ExportFormat,
    ExportRequest,
    ExportStatus,
)
from aiforge.schemas.jobs import Method
from aiforge.schemas.runs import Resources, Run, RunKind, RunStatus
from aiforge.state import events, lifecycles, models, runs
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, to_model

exports = Table(
    "exports",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", ForeignKey("runs.id"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("format", String(16), nullable=False),
    # An adapter has none.
    Column("quantization", String(16)),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("output_path", Text),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("files", Json, nullable=False),
    Column("stop_tokens", Json, nullable=False),
    Column("context_length", Integer),
    Column("error", Text),
    Column("error_code", String(64)),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Index("ix_exports_job_id", "job_id", "id"),
)


class ExportSpec(Wire):
    """What a run of kind ``export`` works from, frozen when it was queued."""

    job_id: str
    project_name: str
    base_model: str
    method: Method
    format: ExportFormat
    quantization: str | None


class ExportOutcome(Wire):
    """What an export leaves behind."""

    output_path: str
    size: int
    sha256: str
    files: list[ExportFile]
    stop_tokens: list[str] = Field(default_factory=list)
    context_length: int | None = None


def quantization_of(request: ExportRequest) -> str | None:
    """The type of the weights that a request means.

    Raises:
        InvalidInput: The format cannot have the type that was asked for.
    """
    given = request.quantization
    if request.format == "gguf":
        return given or "q4_k_m"
    if request.format == "safetensors" and (given or "f16") in FLOAT_QUANTIZATIONS:
        return given or "f16"
    if request.format == "peft" and given is None:
        return None
    error = {
        "safetensors": "safetensors hold f32, f16 or bf16",
        "peft": "An adapter stays as it was trained; leave quantization out",
    }[request.format]
    raise InvalidInput(f"{error}.", code="validation_failed", field="quantization", error=error)


@write
def create(
    connection: Connection,
    job_id: str,
    request: ExportRequest,
    resources: Resources,
    lost: str | None = None,
) -> Export:
    """Queue an export, or return the one that has the same done or under way.

    Args:
        lost: An export whose files are gone or damaged: it does not count, and makes room for
            the one that is queued in its place.

    Raises:
        NotFound: There is no such job.
        InvalidInput: The format cannot be had of this job, or not in this type.
        Conflict: The job has not completed.
    """
    job = _job(connection, job_id)
    trained = models.Trained.model_validate(job.spec)
    quantization = quantization_of(request)
    _require_exportable(job, trained.config.method, request.format)
    known = same(connection, job_id, request.format, quantization)
    if known is not None and known.export_id != lost:
        return known
    if known is not None:
        remove(connection, known.export_id)
    spec = ExportSpec(
        job_id=job_id,
        project_name=trained.project_name,
        base_model=trained.base_model,
        method=trained.config.method,
        format=request.format,
        quantization=quantization,
    )
    export_id = new_id("export")
    run = runs.create(
        connection,
        id=new_id("run"),
        kind=RunKind.EXPORT,
        resource_id=export_id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
    )
    status = lifecycles.EXPORT.initial
    connection.execute(
        exports.insert().values(
            id=export_id,
            job_id=job_id,
            status=status,
            format=request.format,
            quantization=quantization,
            run_id=run.id,
            files=[],
            stop_tokens=[],
            created_at=now(),
        )
    )
    events.append(connection, f"export.{status}", export_id, runId=run.id, jobId=job_id)
    return get(connection, export_id)


def _job(connection: Connection, job_id: str) -> Run:
    try:
        run = runs.get(connection, job_id)
    except NotFound:
        run = None
    if run is None or run.kind is not RunKind.TRAIN:
        raise NotFound(f"There is no job {job_id}.", code="job_not_found")
    return run


def _require_exportable(job: Run, method: Method, format: ExportFormat) -> None:
    if job.status is not RunStatus.COMPLETED:
        raise Conflict(
            f"{job.id} is {job.status}; only a completed job can be exported.",
            code="job_not_completed",
            status=str(job.status),
        )
    if format == "peft" and method == "full":
        error = "The job trained every weight and has no adapter; export safetensors or gguf"
        raise InvalidInput(f"{error}.", code="validation_failed", field="format", error=error)


def change(connection: Connection, export_id: str, new: ExportStatus, **values: Any) -> None:
    """Change an export's status and append the event: the only place that does.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = _row(connection, export_id)
    lifecycles.EXPORT.require(export_id, ExportStatus(row.status), new)
    connection.execute(
        exports.update()
        .where(exports.c.id == export_id)
        .values(status=new, finished_at=now(), **values)
    )
    facts = {"runId": row.run_id, "jobId": row.job_id, "quantization": row.quantization}
    if values.get("error"):
        facts |= {"error": values["error"], "errorCode": values.get("error_code")}
    events.append(connection, f"export.{new}", export_id, **facts)


def exported(connection: Connection, run: Run, outcome: ExportOutcome) -> None:
    """Apply what an export made."""
    values = outcome.model_dump(by_alias=False)
    change(connection, run.resource_id, ExportStatus.COMPLETED, **values)


def export_stopped(connection: Connection, run: Run, error: str, code: str) -> None:
    """An export failed or was cancelled."""
    change(connection, run.resource_id, ExportStatus.FAILED, error=error, error_code=code)


_EXPORTS = select(
    exports,
    exports.c.id.label("export_id"),
    runs.runs.c.progress,
    case(
        (runs.runs.c.status == RunStatus.CANCELLING, str(RunStatus.CANCELLING)),
        else_=runs.runs.c.stage,
    ).label("stage"),
    runs.runs.c.queued_reason,
).join_from(exports, runs.runs, runs.runs.c.id == exports.c.run_id)
_ONE = _EXPORTS.where(exports.c.id == bindparam("export_id_"))


def _row(connection: Connection, export_id: str) -> Row[Any]:
    row = connection.execute(_ONE, {"export_id_": export_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no export {export_id}.", code="export_not_found")
    return row


@read
def get(connection: Connection, export_id: str) -> Export:
    """One export.

    Raises:
        NotFound: There is no such export.
    """
    return to_model(Export, _row(connection, export_id))


@read
def run_of(connection: Connection, job_id: str, export_id: str) -> str:
    """The run that makes or made an export of a job.

    Raises:
        NotFound: The job has no such export.
    """
    row = _row(connection, export_id)
    if row.job_id != job_id:
        raise NotFound(f"{job_id} has no export {export_id}.", code="export_not_found")
    return str(row.run_id)


@read
def page(connection: Connection, job_id: str, limit: int, offset: int) -> Listing[Export]:
    """The exports of a job, newest first.

    Raises:
        NotFound: There is no such job.
    """
    _job(connection, job_id)
    of_job = exports.c.job_id == job_id
    query = _EXPORTS.where(of_job).order_by(exports.c.id.desc()).limit(limit).offset(offset)
    number = select(func.count()).select_from(exports).where(of_job)
    return Listing[Export](
        items=[to_model(Export, row) for row in connection.execute(query)],
        total=connection.execute(number).scalar_one(),
    )


def remove(connection: Connection, export_id: str) -> None:
    """Delete an export that nothing uses; its run stays as history."""
    connection.execute(exports.delete().where(exports.c.id == export_id))
    events.append(connection, "export.deleted", export_id)


@read
def finished(connection: Connection, export_id: str) -> Export | None:
    """An export that has ended; ``None`` while it is under way."""
    export = get(connection, export_id)
    return None if export.status is ExportStatus.RUNNING else export


@read
def newest(connection: Connection, job_id: str) -> Export | None:
    """The newest completed GGUF of a job; ``None`` where there is none."""
    query = (
        _EXPORTS.where(
            exports.c.job_id == job_id,
            exports.c.format == "gguf",
            exports.c.status == ExportStatus.COMPLETED,
        )
        .order_by(exports.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else to_model(Export, row)


@read
def same(
    connection: Connection, job_id: str, format: ExportFormat, quantization: str | None
) -> Export | None:
    """The export that makes another one of the same needless; ``None`` where there is none."""
    query = _EXPORTS.where(
        exports.c.job_id == job_id,
        exports.c.format == format,
        exports.c.quantization.is_(None)
        if quantization is None
        else exports.c.quantization == quantization,
        exports.c.status != ExportStatus.FAILED,
        # Nothing but its end comes of one that is being cancelled.
        runs.runs.c.status != RunStatus.CANCELLING,
    )
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else to_model(Export, row)
