"""Fine-tuning on Ray Train: a group of workers that outlives the death of any of them."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    CheckpointUploadMode,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
)
from ray.train.torch import TorchConfig
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2.api.exceptions import TrainingFailedError

from aiforge import logs
from aiforge.modeling import bases
from aiforge.modeling.linears import Shape
from aiforge.schemas.jobs import JobConfig
from aiforge.settings import grown
from aiforge.storage import Storage, run_dir, train_result_file
from aiforge.training import estimate
from aiforge.training.group import GroupSession
from aiforge.training.plan import Reporter, TrainPlan, TrainResult
from aiforge.training.prepare import Prepared
from aiforge.training.ray_controller import AbortableTrainer, OnController, translated
from aiforge.training.ray_prepare import prepare

CHECKPOINTS_KEPT = 2

log = logging.getLogger(__name__)


def fit(
    plan: TrainPlan, report: Reporter, on_controller: OnController | None = None
) -> TrainResult:
    """Train as planned; blocks until the adapter is published.

    Called again with the same plan, after a crash of this process for example, it continues from
    the newest checkpoint, and returns at once where the job had finished.

    Args:
        plan: What to do.
        report: Takes progress, log lines and metrics; it is pickled and used in the workers too.
        on_controller: Called in this process with Ray Train's controller before it starts;
            ``controller.abort.remote()`` ends the training and keeps the last checkpoint.

    Raises:
        Cancelled: The controller was aborted.
        AIForgeError: What a worker raised on purpose, or ``training_failed``.
        ray.exceptions.RayActorError: The controller was killed.
    """
    storage = Storage(plan.storage_uri)
    if storage.exists(train_result_file(plan.job_id)):
        return TrainResult(**storage.read_json(train_result_file(plan.job_id)))
    plan = _settled(plan, report)
    report.progress(0.0, "preparing data")
    prepared = prepare(plan, report)
    report.progress(0.0, "starting workers")
    trainer = AbortableTrainer(
        on_controller,
        _worker,
        train_loop_config={
            "plan": plan,
            "prepared": prepared,
            "reporter": report,
            "logs": logs.handover(),
        },
        torch_config=TorchConfig(backend="nccl" if _resources(plan).get("GPU") else "gloo"),
        scaling_config=_scaling(plan.config, _resources(plan)),
        run_config=_run_config(plan, storage),
    )
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    try:
        result = trainer.fit()
    except TrainingFailedError as error:
        raise translated(error, plan.config) from error
    assert isinstance(result.return_value, TrainResult)
    return result.return_value


def _worker(config: dict[str, Any]) -> TrainResult | None:
    """The function that Ray Train runs on every worker."""
    from aiforge.training.worker import run

    plan: TrainPlan = config["plan"]
    prepared: Prepared = config["prepared"]
    session = _RaySession()
    config["logs"].take_up("train", rank=session.rank)
    log.info("Worker %s of %s begins, on %s", session.rank + 1, session.world, session.device)
    try:
        result = run(plan, prepared, session, config["reporter"])
    except Exception:
        log.exception("Worker %s of %s failed", session.rank + 1, session.world)
        raise
    log.info("Worker %s of %s is done", session.rank + 1, session.world)
    return result if session.rank == 0 else None


class _RaySession(GroupSession):
    """A worker's place in Ray Train's group; its checkpoints go to the run's storage."""

    def __init__(self) -> None:
        from ray.train.torch import get_device

        context = ray.train.get_context()
        super().__init__(
            context.get_world_rank(),
            context.get_world_size(),
            context.get_local_world_size(),
            get_device(),
            Path(),
        )
        self._failure: Exception | None = None

    @contextmanager
    def restore(self) -> Iterator[Path | None]:
        """The newest checkpoint of the run that the controller knows of."""
        found = ray.train.get_checkpoint()
        if found is None:
            yield None
            return
        with found.as_directory() as directory:
            yield Path(directory)

    def keep(self, state: Any, step: int) -> None:
        """Upload a checkpoint; one whose upload was not noticed never gets mixed with another.

        Ray's thread for uploads writes it as well, and tells the controller when it is there.
        The one before is known to the controller by then: a death costs two periods at most.
        """
        self.settle()
        get_train_context().get_result_queue().join()
        name = f"step-{step:08d}-{uuid.uuid4().hex[:8]}"
        scratch = None if state is None else Checkpoint.from_directory(tempfile.mkdtemp())
        ray.train.report(
            {"step": step},
            checkpoint=scratch,
            checkpoint_dir_name=name,
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=partial(self._upload, state),
        )

    def _upload(self, state: Any, scratch: Checkpoint, name: str) -> Checkpoint:
        from aiforge.training import checkpoint

        try:
            checkpoint.save(state, Path(scratch.path))
            kept = get_train_context().get_storage().persist_current_checkpoint(scratch, name)
        except Exception as error:
            self._failure = error
            raise
        finally:
            shutil.rmtree(scratch.path, ignore_errors=True)
        self._failure = None
        return kept

    def settle(self) -> None:
        """Wait until the checkpoint is uploaded."""
        # Ray has one such thread, so what is put behind an upload runs when that is over.
        get_train_context().checkpoint_upload_threadpool.submit(int).result()
        if self._failure is not None:
            raise self._failure


def _run_config(plan: TrainPlan, storage: Storage) -> RunConfig:
    parent, _, name = run_dir(plan.job_id).rpartition("/")
    return RunConfig(
        name=name,
        storage_path=storage.uri_of(parent),
        failure_config=FailureConfig(max_failures=plan.max_failures),
        checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
        logging_config=LoggingConfig(log_level="WARNING"),
    )


def _resources(plan: TrainPlan) -> dict[str, float]:
    """What the cluster has, or will have: workers that wait for a node make Ray start it."""
    return grown(ray.cluster_resources(), plan.cluster_limits)


def _settled(plan: TrainPlan, report: Reporter) -> TrainPlan:
    """The plan with its ZeRO stage chosen for this cluster; says what was chosen, and why."""
    shape, config = Shape.of(bases.read_config(plan.base)), plan.config
    room = estimate.room(_resources(plan), config.num_workers)
    config, reason = estimate.choose_stage(shape, config, plan.max_length, room)
    memory = estimate.estimate(shape, config, plan.max_length, room.device)
    report.log(
        f"Plan: {config.method} of {plan.base.name} on {_workers(config)} ({room.device}), "
        f"{plan.rows_per_step} rows of up to {plan.max_length} tokens per step; {reason}; "
        f"about {memory.peak / estimate.GIB:.1f} GiB per worker, of which "
        f"{memory.weights / estimate.GIB:.1f} weights, "
        f"{memory.activations / estimate.GIB:.1f} activations, "
        f"{memory.logits / estimate.GIB:.1f} logits"
    )
    return replace(plan, config=config)


def _workers(config: JobConfig) -> str:
    least = config.min_workers or config.num_workers
    span = f"{least} to {config.num_workers}" if least < config.num_workers else f"{least}"
    return f"{span} worker{'s' if config.num_workers > 1 else ''}"


def _scaling(config: JobConfig, resources: Mapping[str, float]) -> ScalingConfig:
    """Workers that fit into the cluster, be it as small as one core.

    On CPU each asks for less than its share, so that other actors of the platform still fit
    beside them; how many threads compute follows from the node's cores, not from this number.
    So CPU workers are spread over the nodes, while GPUs are best beside each other.
    """
    least, most = config.min_workers or config.num_workers, config.num_workers
    workers = most if least == most else (least, most)
    if resources.get("GPU"):
        return ScalingConfig(num_workers=workers, use_gpu=True)
    share = min(1.0, 0.75 * resources.get("CPU", 1.0) / most)
    # Ray adds the shares up and divides by one to count an elastic group's workers. Only fractions
    # that are exact in binary, and within Ray's four decimals, then give the number back.
    exact = math.floor(16 * share) / 16
    return ScalingConfig(
        num_workers=workers,
        resources_per_worker={"CPU": exact or round(share, 3)},
        placement_strategy="SPREAD",
    )
