"""Training jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Ctx, JobId, Key
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.jobs import Job, JobLogs, JobMetricsHistory, JobStatus, Validation
from aiforge.schemas.validations import ValidationRequest, ValidationStarted
from aiforge.services import jobs

router = APIRouter(tags=["Training jobs"])

Status = Annotated[JobStatus | None, Query(description="Only jobs of this status.")]
Project = Annotated[
    str | None, Query(alias="projectName", max_length=100, description="Only jobs of this project.")
]
Tail = Annotated[int, Query(ge=1, le=10_000, description="Number of lines from the end.")]


@router.get("/jobs", response_model=list[Job], responses=answers([examples.JOB], paged=True))
async def list_jobs(
    ctx: Ctx,
    status: Status = None,
    project_name: Project = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """List training jobs, newest first."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer_json(await jobs.list_page_json(ctx, page, status, project_name))


@router.get("/jobs/{job_id}", responses=answers(examples.JOB, 404))
async def get_job(ctx: Ctx, job_id: JobId) -> Job:
    """Get a training job."""
    return await jobs.get(ctx, job_id)


@router.delete("/jobs/{job_id}", responses=answers(examples.CANCELLED, 400, 404, 409))
async def cancel_job(ctx: Ctx, job_id: JobId, key: Key) -> Message:
    """Cancel a job that waits or runs; to do so twice is no error."""
    return await jobs.cancel(ctx, job_id, key)


@router.get("/jobs/{job_id}/metrics", responses=answers(examples.METRICS, 404))
async def get_job_metrics(ctx: Ctx, job_id: JobId) -> JobMetricsHistory:
    """Get the curves of a job, a value for each step."""
    return await jobs.metrics(ctx, job_id)


@router.get("/jobs/{job_id}/logs", responses=answers(examples.LOGS, 400, 404, 422))
async def get_job_logs(ctx: Ctx, job_id: JobId, tail: Tail = 100) -> JobLogs:
    """Get the last lines of a job's log."""
    return await jobs.logs(ctx, job_id, tail)


@router.get("/jobs/{job_id}/validation", responses=answers(examples.VALIDATION, 404, 409))
async def get_job_validation(ctx: Ctx, job_id: JobId) -> Validation:
    """Get what was measured of the model that a job trained."""
    return await jobs.validation(ctx, job_id)


@router.post(
    "/jobs/{job_id}/validation",
    responses=answers(examples.VALIDATION_STARTED, 400, 404, 409, 422),
)
async def validate_job(
    ctx: Ctx,
    job_id: JobId,
    key: Key,
    body: Annotated[ValidationRequest | None, Body(examples=[examples.VALIDATION_REQUEST])] = None,
) -> ValidationStarted:
    """Measure again what a job trained; a validation that is under way is the answer."""
    return await jobs.validate(ctx, job_id, body, key)
