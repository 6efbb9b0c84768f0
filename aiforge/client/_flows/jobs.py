"""Training jobs."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from aiforge.client._flow import Emit, Flow, ItemFlow, Sleep
from aiforge.client._flows.common import (
    Page,
    delete,
    fetch,
    fetch_page,
    given,
    post,
    quoted,
    until,
)
from aiforge.client._flows.events import NoStreamError, stream
from aiforge.client._metrics import Metrics
from aiforge.errors import Cancelled, Conflict, Failure
from aiforge.schemas.common import Message, utc_now
from aiforge.schemas.jobs import (
    FineTuneResponse,
    Job,
    JobLogs,
    JobStatus,
    Method,
    ScheduleShape,
    Validation,
)
from aiforge.schemas.plans import TrainingPlan
from aiforge.schemas.runs import Event
from aiforge.schemas.validations import ValidationStarted


class JobOptions(TypedDict, total=False):
    """How to train; each is left to the server where it is ``None`` or absent."""

    epochs: int | None
    learning_rate: float | None
    rank: int | None
    batch_size: int | None
    """Rows that one worker takes at a time."""

    gradient_accumulation: int | None
    warmup_steps: int | None
    weight_decay: float | None
    method: Method | None
    """``pissa`` (default), ``lora`` or ``full``."""

    max_seq_length: int | None
    seed: int | None
    num_workers: int | None
    """Ray Train workers; the most, where ``min_workers`` makes training elastic."""

    min_workers: int | None
    zero_stage: int | None
    """DeepSpeed ZeRO stage; chosen from model and memory by default."""

    offload: bool | None
    quantize_base: bool | None
    """Keep the frozen base in 4 bits."""

    activation_checkpointing: bool | None
    target_modules: list[str] | None
    schedule: ScheduleShape | None
    eval_every: int | None
    early_stopping: int | None
    resume_from: str | None
    """A job to take up."""


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


def fine_tune(
    project_name: str, dataset_id: str, base_model: str, **options: Unpack[JobOptions]
) -> Flow[Job]:
    """Queue a fine-tuning job; what is ``None`` is left to the server.

    Args:
        base_model: An alias, a hub id, a directory on the server, or ``forge-tiny``.
        **options: See ``JobOptions``.

    Raises:
        InvalidInput: A value is out of its range, the dataset or base model is unknown, or the
            job does not fit into the cluster.
        Conflict: The dataset is not ready.
    """
    body = _fine_tune_body(project_name, dataset_id, base_model, options)
    created = yield from post(FineTuneResponse, "/v1/fine-tune", json=body)
    return (yield from get(created.job_id))


def plan(
    project_name: str, dataset_id: str, base_model: str, **options: Unpack[JobOptions]
) -> Flow[TrainingPlan]:
    """What ``fine_tune`` would do with the same arguments: memory, disk, data and time.

    Nothing is queued. A job that does not fit has a plan too: its ``changes`` make it fit.
    """
    body = _fine_tune_body(project_name, dataset_id, base_model, options)
    return (yield from post(TrainingPlan, "/v1/fine-tune", json=body, params={"dryRun": "true"}))


def _fine_tune_body(
    project_name: str, dataset_id: str, base_model: str, options: JobOptions
) -> dict[str, Any]:
    if unknown := options.keys() - JobOptions.__annotations__.keys():
        raise TypeError(f"fine_tune has no option {min(unknown)!r}")
    required = {"project_name": project_name, "dataset_id": dataset_id, "base_model": base_model}
    return given(**required, **options)


def list_(
    *,
    status: JobStatus | str | None = None,
    project_name: str | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[Page[Job]]:
    """The jobs, newest first; 50 unless ``limit`` (at most 500) says otherwise."""
    chosen = None if status is None else str(status)
    return fetch_page(
        Job, "/jobs", status=chosen, projectName=project_name, limit=limit, offset=offset
    )


def get(job_id: str) -> Flow[Job]:
    """One job.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(Job, f"/jobs/{quoted(job_id)}")


def cancel(job_id: str) -> Flow[Job]:
    """Cancel a job; cancelling twice is no error.

    Raises:
        Conflict: It has ended already.
    """
    yield from delete(Message, f"/jobs/{quoted(job_id)}")
    return (yield from get(job_id))


def logs(job_id: str, *, tail: int | None = None) -> Flow[JobLogs]:
    """The last lines of a job's log; 100 unless ``tail`` (at most 10,000) says otherwise."""
    return fetch(JobLogs, f"/jobs/{quoted(job_id)}/logs", tail=tail)


def metrics(job_id: str) -> Flow[Metrics]:
    """The curves of a job; ``to_pandas()`` makes a table of them."""
    return fetch(Metrics, f"/jobs/{quoted(job_id)}/metrics")


def validation(job_id: str) -> Flow[Validation]:
    """What was measured of the model that a job trained.

    Raises:
        NotFound: Its training has not ended.
        Conflict: It is being measured (``validation_under_way``), or that failed.
    """
    return fetch(Validation, f"/jobs/{quoted(job_id)}/validation")


def validate(
    job_id: str, *, policy: str | None = None, exam_items: int | None = None
) -> Flow[ValidationStarted]:
    """Measure again what a job trained; a validation that is under way is the answer.

    Args:
        policy: Name of a gate policy; chosen by the base model's size when absent.
        exam_items: Functions of the repository's exam to sit, none for 0; as many as the policy
            says when absent.

    Raises:
        Conflict: The job has not completed.
    """
    body = given(policy=policy, exam_items=exam_items)
    return post(ValidationStarted, f"/jobs/{quoted(job_id)}/validation", json=body)


def wait_validation(job_id: str, *, timeout: float | None = None) -> Flow[Validation]:
    """What was measured of a job, as soon as nothing is under way any more.

    Args:
        timeout: Seconds to wait at most; for ever when absent.

    Raises:
        NotFound: Its training has not ended.
        Conflict: Measuring failed.
        TimeoutError: It takes longer than ``timeout``.
    """
    found = yield from until(
        lambda: _settled_validation(job_id),
        lambda validation: validation is not None,
        timeout,
        f"the validation of {job_id}",
    )
    assert found is not None
    return found


def _settled_validation(job_id: str) -> Flow[Validation | None]:
    try:
        found = yield from validation(job_id)
    except Conflict as error:
        if error.code != "validation_under_way":
            raise
        return None
    return found if found.pending_run_id is None else None


def wait(job_id: str, *, timeout: float | None = None, check: bool = True) -> Flow[Job]:
    """The job as soon as it has ended.

    Args:
        timeout: Seconds to wait at most; for ever when absent.
        check: Raise unless the job completed.

    Raises:
        Failure: The job failed; ``code`` and message say why.
        Cancelled: The job was cancelled.
        TimeoutError: It takes longer than ``timeout``.
    """
    job = yield from until(lambda: get(job_id), lambda j: j.status in TERMINAL, timeout, job_id)
    if check:
        require_completed(job)
    return job


def follow(job_id: str) -> ItemFlow[Event]:
    """The events of a job from its beginning until it has ended.

    ``type`` is ``job.updated`` (``data`` is the job), ``job.metrics`` (a ``MetricPoint``),
    ``job.log`` (a ``LogLine``), or a change of status. A lost connection is taken up again where
    it broke; where no stream can be had, the job is asked for again and again.
    """
    try:
        yield from stream(f"/jobs/{quoted(job_id)}/events", None, _is_last)
    except NoStreamError:
        yield from _poll(job_id)


def _is_last(event: Event) -> bool:
    return event.type == "job.updated" and event.data.get("status") in TERMINAL


def _poll(job_id: str) -> ItemFlow[Event]:
    seen: dict[str, Any] = {}
    while True:
        job = yield from get(job_id)
        data = job.model_dump(mode="json")
        if data != seen:
            seen = data
            yield Emit(
                Event(sequence=0, at=utc_now(), type="job.updated", resource_id=job_id, data=data)
            )
        if job.status in TERMINAL:
            return
        yield Sleep(1.0)


def require_completed(job: Job) -> None:
    """Raise what became of a job that did not complete."""
    if job.status == JobStatus.FAILED:
        raise Failure(job.error or "The job failed.", code=job.error_code, jobId=job.id)
    if job.status == JobStatus.CANCELLED:
        raise Cancelled(f"{job.id} was cancelled.", code="job_cancelled", jobId=job.id)
