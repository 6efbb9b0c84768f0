"""What a training job would take, and whether it is refused for that, before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiforge.errors import Conflict, InvalidInput, NotFound
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.linears import Shape
from aiforge.modeling.quantize import require_available
from aiforge.schemas.jobs import FineTuneRequest, Job, JobConfig
from aiforge.schemas.plans import DataPlan, MemoryPlan, TimePlan, TrainingPlan
from aiforge.schemas.runs import Resources, RunStatus
from aiforge.services import known_bases, preflight
from aiforge.services.context import Services
from aiforge.services.known_bases import KnownBase
from aiforge.state import datasets, jobs
from aiforge.storage import Storage, dataset_dir
from aiforge.training import estimate, older_job
from aiforge.training.estimate import GIB, Room
from aiforge.training.plan import DEFAULT_MAX_LENGTH, Probe, TrainPlan


@dataclass(frozen=True)
class Draft:
    """A request that was found acceptable: what it means here and what it will occupy."""

    base: BaseModel
    config: JobConfig
    plan: TrainingPlan
    resources: Resources


async def older_of(services: Services, request: FineTuneRequest) -> Job | None:
    """The job that a request starts from.

    Raises:
        InvalidInput: There is no such job (``unknown_job``).
        Conflict: It is still under way.
    """
    if request.resume_from is None:
        return None
    try:
        await services.require_visible([request.resume_from], "job")
        older = await services.state.call(jobs.get, request.resume_from)
    except NotFound as error:
        raise InvalidInput(
            f"resumeFrom: {error.message} Choose one from GET /jobs.",
            code="unknown_job",
            field="resumeFrom",
            error=error.message,
        ) from error
    if older.status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLING):
        raise Conflict(
            f"{older.id} is {older.status}; wait for it, or cancel it first: its last checkpoint "
            "is kept.",
            code="job_not_finished",
        )
    return older


def draft(
    services: Services,
    request: FineTuneRequest,
    older: Job | None,
    known: KnownBase | None = None,
) -> Draft:
    """Check a request and count what it will occupy; in a thread, unless its base is known.

    Args:
        known: As ``known_base`` gave it just now; the base is found anew where it is absent.

    Raises:
        InvalidInput: The base model is unknown or could not be exported, or an option cannot be
            had; the message says what to set.
    """
    asked = request.base_model, services.settings
    known = known or known_bases.remembered(*asked) or known_bases.look_up(*asked)
    base, shape = known.base, known.shape
    _check_options(request, shape)
    if older is not None:
        _check_older(services.storage, request, older)
    max_length = min(request.max_seq_length or DEFAULT_MAX_LENGTH, known.context_length)
    room = estimate.room(services.cluster_resources, request.num_workers)
    if shape is None:
        return _unmeasured(services, request, base, max_length, room)
    return _measured(services, request, base, shape, max_length, room)


def known_base(services: Services, request: FineTuneRequest, older: Job | None) -> KnownBase | None:
    """The base with which ``draft`` reads nothing, so that an event loop may call it."""
    if older is not None or request.quantize_base:
        return None
    return known_bases.remembered(request.base_model, services.settings)


def require_room(drafted: Draft) -> None:
    """Refuse a job that cannot fit, with the change that makes it fit.

    Raises:
        InvalidInput: ``does_not_fit``, on the first setting that should change.
    """
    plan = drafted.plan
    if plan.fits is not False:
        return
    assert plan.memory is not None
    assert plan.available_bytes is not None
    unit = "GPU" if plan.device == "cuda" else "worker"
    error = (
        f"Needs {plan.memory.peak / GIB:.1f} GiB per {unit}, of which there are "
        f"{plan.available_bytes / GIB:.1f}"
    )
    remedy = (
        f"it fits with {_listed(plan.changes)}"
        if plan.changes
        else "no setting makes it fit: choose a smaller base model, or add nodes"
    )
    raise InvalidInput(
        f"The job does not fit. {error}; {remedy}.",
        code="does_not_fit",
        field=next(iter(plan.changes), "baseModel"),
        error=error,
        changes=plan.changes,
    )


async def plan(services: Services, request: FineTuneRequest, drafted: Draft) -> TrainingPlan:
    """The plan of a job with what a probe on the cluster tells of its data and its time.

    Raises:
        InvalidInput: There is no such dataset.
        Conflict: The dataset is not ready.
    """
    dataset = await services.state.call(datasets.require_ready, request.dataset_id)
    if services.probe is None:
        return drafted.plan
    if drafted.plan.device == "cuda" and not services.resources_now.get("GPU"):
        # A GPU node would have to be started for the probe, which takes minutes.
        return drafted.plan
    probe = await services.probe(
        TrainPlan(
            job_id="plan",
            base=drafted.base,
            config=drafted.config,
            storage_uri=services.settings.resolved_storage_uri,
            dataset_path=dataset_dir(dataset.id),
        )
    )
    data = _data(probe, drafted.plan, request.epochs)
    return drafted.plan.model_copy(update={"data": data, "time": _time(probe, drafted, data)})


def _check_options(request: FineTuneRequest, shape: Shape | None) -> None:
    if request.min_workers is not None and request.min_workers > request.num_workers:
        raise _unacceptable("minWorkers", f"Must not exceed numWorkers, {request.num_workers}")
    if request.offload and request.zero_stage not in (None, 3):
        raise _unacceptable("offload", "Only ZeRO stage 3 can offload; set zeroStage 3")
    if request.method == "full":
        if request.quantize_base:
            raise _unacceptable("quantizeBase", "Method full trains the base; use pissa or lora")
        if request.target_modules is not None:
            raise _unacceptable("targetModules", "Method full trains every weight; leave it out")
    if request.quantize_base:
        require_available()
    if shape is not None:
        shape.targets(request.target_modules)


def _unacceptable(field: str, error: str) -> InvalidInput:
    return InvalidInput(f"{field}: {error}.", code="not_acceptable", field=field, error=error)


def _check_older(storage: Storage, request: FineTuneRequest, older: Job) -> None:
    older_job.require_fit(request, request.base_model, older.config, older.base_model)
    if older_job.newest_checkpoint(storage, older.id) is None:
        error = f"{older.id} left no checkpoint: it ended before its first"
        raise InvalidInput(
            f"{error}; start without resumeFrom.",
            code="no_checkpoint",
            field="resumeFrom",
            error=error,
        )


def _measured(
    services: Services,
    request: FineTuneRequest,
    base: BaseModel,
    shape: Shape,
    max_length: int,
    room: Room,
) -> Draft:
    given = request.hyperparameters
    config, reason = estimate.choose_stage(shape, given, max_length, room)
    memory = estimate.estimate(shape, config, max_length, room.device)
    fits = None if room.worker is None else memory.peak <= room.worker
    fitting = estimate.fitting(shape, config, max_length, room) if fits is False else {}
    is_full = config.method == "full"
    per_worker = memory.host if room.device == "cuda" else memory.peak
    disk = estimate.disk_bytes(shape, config, room.device)
    drawn = TrainingPlan(
        **_facts(services, request, base, max_length, room),
        parameters=shape.parameters,
        trained_parameters=(
            shape.parameters if is_full else shape.adapter(config.rank, config.target_modules)
        ),
        zero_stage=config.zero_stage or 0,
        zero_stage_reason=reason,
        memory=MemoryPlan(**vars(memory), peak=memory.peak),
        fits=fits,
        changes={estimate.wire_name(name): value for name, value in fitting.items()},
        disk_bytes=disk,
    )
    return Draft(base, config, drawn, _resources(request, room, per_worker, disk))


def _unmeasured(
    services: Services, request: FineTuneRequest, base: BaseModel, max_length: int, room: Room
) -> Draft:
    """A model whose configuration does not tell its dimensions: its files' size must do."""
    weights = preflight.weight_bytes(base)
    config = request.hyperparameters
    stage = config.zero_stage if config.zero_stage is not None else int(config.num_workers > 1)
    drawn = TrainingPlan(
        **_facts(services, request, base, max_length, room),
        parameters=None,
        trained_parameters=None,
        zero_stage=stage,
        zero_stage_reason=f"ZeRO stage {stage}: the model's dimensions are not known",
        memory=None,
        fits=None,
        disk_bytes=weights if config.method == "full" else 0,
    )
    per_worker = preflight.WORKER_OVERHEAD_BYTES + weights
    settled = config.model_copy(update={"zero_stage": stage})
    return Draft(base, settled, drawn, _resources(request, room, per_worker, drawn.disk_bytes))


def _facts(
    services: Services, request: FineTuneRequest, base: BaseModel, max_length: int, room: Room
) -> Mapping[str, Any]:
    rows = request.num_workers * request.batch_size * request.gradient_accumulation
    return {
        "base_model": base.name,
        "method": request.method,
        "device": room.device,
        "num_workers": request.num_workers,
        "min_workers": request.min_workers or request.num_workers,
        "rows_per_step": rows,
        "max_seq_length": max_length,
        "available_bytes": room.worker,
        "free_disk_bytes": services.storage.free_bytes(),
        "resumes_from": request.resume_from,
    }


def _resources(request: FineTuneRequest, room: Room, per_worker: int, disk: int) -> Resources:
    """A CPU, or a GPU where the cluster has any, for each worker that must be there."""
    workers = request.min_workers or request.num_workers
    return Resources(
        cpus=float(workers),
        gpus=float(workers) if room.device == "cuda" else 0.0,
        memory_bytes=workers * per_worker,
        disk_bytes=disk,
    )


def _data(probe: Probe, drawn: TrainingPlan, epochs: int) -> DataPlan:
    sampled = max(1, probe.sampled)
    tokens = round(probe.tokens / sampled * probe.examples)
    rows = max(1, round(probe.rows / sampled * probe.examples))
    return DataPlan(
        examples=probe.examples,
        sampled=probe.sampled,
        dropped_share=probe.dropped / sampled,
        truncated_share=probe.truncated / sampled,
        trained_share=probe.trained / max(1, probe.tokens),
        tokens=tokens,
        rows=rows,
        steps=max(1, -(-rows * epochs // drawn.rows_per_step)),
    )


def _time(probe: Probe, drafted: Draft, data: DataPlan) -> TimePlan:
    config = drafted.config
    seconds = probe.seconds_per_micro_batch * config.gradient_accumulation
    return TimePlan(
        device_name=probe.device_name, seconds_per_step=seconds, seconds=seconds * data.steps
    )


def _listed(changes: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} {str(value).lower()}" for name, value in changes.items())
