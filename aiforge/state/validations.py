"""Measured quality of what a job trained, beside the base's and the active model's."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import Boolean, Column, Connection, ForeignKey, String, Table, select

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.common import Wire, new_id
from aiforge.schemas.jobs import JobConfig, Validation, ValidationMetrics
from aiforge.schemas.runs import Resources, Run, RunKind, RunStatus
from aiforge.schemas.validations import GateVerdict
from aiforge.state import events, runs
from aiforge.state.schema import Json, Moment, metadata, now, to_model, upsert

validations = Table(
    "validations",
    metadata,
    Column("job_id", ForeignKey("runs.id"), primary_key=True),
    Column("model_id", String(64)),
    Column("run_id", String(64)),
    Column("run_at", Moment, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("baseline", Json),
    Column("active", Json),
    Column("passed", Boolean),
    Column("policy", String(100)),
    Column("champion_id", String(64)),
    Column("gates", Json, nullable=False),
    Column("artifact_ids", Json, nullable=False),
)


class ValidateSpec(Wire):
    """What a run of kind ``validate`` works from, frozen when it was queued."""

    job_id: str
    model_id: str | None = None
    project_name: str
    dataset_id: str
    base_model: str
    config: JobConfig
    policy: str | None = None
    exam_items: int | None = None


class ValidateOutcome(Wire):
    """What a validation measured, and what the gate said."""

    metrics: ValidationMetrics
    baseline: ValidationMetrics | None = None
    active: ValidationMetrics | None = None
    passed: bool
    policy: str
    champion_id: str | None = None
    gates: list[GateVerdict] = Field(default_factory=list)
    artifact_ids: list[str] = Field(default_factory=list)


def queue(connection: Connection, spec: ValidateSpec, trained: Run) -> Run:
    """Queue a validation of what a training run made."""
    workers = max(1, spec.config.num_workers)
    resources = Resources(
        cpus=1.0,
        gpus=min(1.0, trained.resources.gpus),
        memory_bytes=trained.resources.memory_bytes // workers,
    )
    return runs.create(
        connection,
        id=new_id("run"),
        kind=RunKind.VALIDATE,
        resource_id=spec.job_id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
        request_id=trained.request_id,
    )


def newest_run(connection: Connection, job_id: str) -> Run | None:
    """The validation of a job that was queued last."""
    table = runs.runs
    query = select(table).where(table.c.resource_id == job_id, table.c.kind == RunKind.VALIDATE)
    row = connection.execute(query.order_by(table.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else to_model(Run, row)


def validated(connection: Connection, run: Run, outcome: ValidateOutcome) -> None:
    """Store what a run measured, in the place of what was measured of its job before."""
    spec = ValidateSpec.model_validate(run.spec)
    values = outcome.model_dump(mode="json", by_alias=False)
    row = values | {
        "job_id": spec.job_id,
        "model_id": spec.model_id,
        "run_id": run.id,
        "run_at": now(),
    }
    upsert(connection, validations, [row])
    events.append(
        connection,
        "validation.completed",
        spec.job_id,
        runId=run.id,
        modelId=spec.model_id,
        projectName=spec.project_name,
        passed=outcome.passed,
        policy=outcome.policy,
    )


def validation_stopped(connection: Connection, run: Run, error: str, code: str) -> None:
    """Tell that a run measured nothing; what was measured before stays."""
    events.append(
        connection, "validation.failed", run.resource_id, runId=run.id, error=error, errorCode=code
    )


def get(connection: Connection, job_id: str) -> Validation:
    """What was measured of a job last.

    Raises:
        NotFound: Nothing was, and nothing is about to be.
        Conflict: It is being measured (``validation_under_way``), or that failed
            (``model_not_validated``).
    """
    row = connection.execute(
        select(validations).where(validations.c.job_id == job_id)
    ).one_or_none()
    run = newest_run(connection, job_id)
    is_open = run is not None and run.status in runs.OPEN
    if row is not None:
        pending = run.id if run is not None and is_open else None
        return to_model(Validation, row).model_copy(update={"pending_run_id": pending})
    if run is None:
        raise NotFound(
            f"Nothing was measured of {job_id} yet; its validation follows its training.",
            code="validation_not_found",
        )
    if is_open:
        raise Conflict(
            f"The validation of {job_id} is {run.status}; ask again once it has ended.",
            code="validation_under_way",
            runId=run.id,
            status=str(run.status),
            progress=run.progress,
            stage=run.stage,
            queuedReason=run.queued_reason,
        )
    what = "was cancelled" if run.status is RunStatus.CANCELLED else f"failed: {run.error}"
    raise Conflict(
        f"The validation of {job_id} {what}. POST /jobs/{job_id}/validation begins another.",
        code="model_not_validated",
        runId=run.id,
        errorCode=run.error_code,
    )
