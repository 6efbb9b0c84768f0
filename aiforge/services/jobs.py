"""Training jobs."""

from __future__ import annotations

import asyncio

from aiforge.evaluation import gate
from aiforge.schemas.common import JsonListing, Listing, Message, Page
from aiforge.schemas.jobs import (
    FineTuneRequest,
    FineTuneResponse,
    Job,
    JobLogs,
    JobMetricsHistory,
    JobStatus,
    Validation,
)
from aiforge.schemas.plans import TrainingPlan
from aiforge.schemas.validations import ValidationRequest, ValidationStarted
from aiforge.services import plans, preflight
from aiforge.services.context import Services
from aiforge.state import jobs
from aiforge.state.store import RequestKey


async def fine_tune(
    services: Services, request: FineTuneRequest, key: RequestKey | None = None
) -> FineTuneResponse:
    """Queue a training job.

    Args:
        key: Of an ``Idempotency-Key``; the same one again returns the same job.

    Raises:
        InvalidInput: The base model or the dataset does not exist, the model could not be
            exported, an option cannot be had, or the job does not fit into the cluster.
        Forbidden: The project is not one that the one who asks is bound to.
        Conflict: The dataset is not ready, or the key was used for another request.
        Unavailable: The disk is full.
    """
    drafted = await _draft(services, request)
    plans.require_room(drafted)
    job = await services.state.once(key).call(jobs.create, request, drafted.resources)
    return FineTuneResponse(
        job_id=job.id, status=job.status, message="Training job queued successfully"
    )


async def plan(services: Services, request: FineTuneRequest) -> TrainingPlan:
    """What ``fine_tune`` would do with a request, without queueing it.

    A job that would be refused for want of memory has a plan as well: it says what to change.

    Raises:
        InvalidInput, Conflict, Unavailable: As ``fine_tune``.
    """
    return await plans.plan(services, request, await _draft(services, request))


async def _draft(services: Services, request: FineTuneRequest) -> plans.Draft:
    services.require_project(request.project_name)
    await services.require_visible([request.dataset_id], "dataset")
    older = await plans.older_of(services, request)
    known = plans.known_base(services, request, older)

    def looked_up() -> plans.Draft:
        drafted = plans.draft(services, request, older, known)
        disk = drafted.resources.disk_bytes
        preflight.require_disk(services.settings, services.storage, disk)
        return drafted

    return await asyncio.to_thread(looked_up) if known is None else looked_up()


async def list_page(
    services: Services,
    page: Page,
    status: JobStatus | None = None,
    project_name: str | None = None,
) -> Listing[Job]:
    """Jobs, newest first."""
    project = services.only_project(project_name)
    return await services.state.call(jobs.page, page.limit, page.offset, status, project)


async def list_page_json(
    services: Services,
    page: Page,
    status: JobStatus | None = None,
    project_name: str | None = None,
) -> JsonListing:
    """Jobs, newest first, as JSON."""
    project = services.only_project(project_name)
    return await services.state.call(jobs.page_json, page.limit, page.offset, status, project)


async def get(services: Services, job_id: str) -> Job:
    """One job, or ``NotFound``."""
    return await services.state.call(jobs.get, job_id)


async def metrics(services: Services, job_id: str) -> JobMetricsHistory:
    """The curves of a job, or ``NotFound``."""
    return await services.state.call(jobs.history, job_id)


async def logs(services: Services, job_id: str, tail: int = 100) -> JobLogs:
    """The last ``tail`` lines of a job's log, or ``NotFound``."""
    lines = await services.state.call(jobs.log_tail, job_id, tail)
    return JobLogs(
        logs=[f"[{line.level.upper()}] {line.message}" for line in lines],
        last_updated=lines[-1].at if lines else None,
    )


async def cancel(services: Services, job_id: str, key: RequestKey | None = None) -> Message:
    """Cancel a job that waits or runs; to do so twice is no error.

    Raises:
        NotFound: There is no such job.
        Conflict: It has completed or failed.
    """
    await services.state.once(key).call(jobs.cancel, job_id)
    return Message(message="Job cancelled")


async def validation(services: Services, job_id: str) -> Validation:
    """What was measured of the model that a job trained.

    Raises:
        NotFound: There is no such job, or its training has not ended.
        Conflict: It is being measured, or that failed.
    """
    return await services.state.call(jobs.validation, job_id)


async def validate(
    services: Services,
    job_id: str,
    request: ValidationRequest | None = None,
    key: RequestKey | None = None,
) -> ValidationStarted:
    """Measure again what a job trained; a validation that is under way is the answer.

    Raises:
        NotFound: There is no such job.
        InvalidInput: There is no such policy.
        Conflict: The job has not completed, or the key was used for another request.
    """
    asked = request or ValidationRequest()
    if asked.policy is not None:
        gate.read_policy(asked.policy)
    run = await services.state.once(key).call(jobs.validate, job_id, asked.policy, asked.exam_items)
    return ValidationStarted(
        job_id=job_id, run_id=run.id, status=run.status, message="Validation queued"
    )
