"""Fine-tuning on Ray Train: a group of workers that outlives the death of any of them."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.actor import ActorHandle
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
)
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.execution.failure_handling.default import DefaultFailurePolicy
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from aiforge.errors import AIForgeError, Failure
from aiforge.storage import Storage, run_dir, train_result_file
from aiforge.training.plan import Reporter, TrainPlan, TrainResult
from aiforge.training.prepare import Prepared
from aiforge.training.ray_prepare import prepare

log = logging.getLogger(__name__)

OnController = Callable[[ActorHandle], None]

CHECKPOINTS_KEPT = 2

_ENVIRONMENT = {
    # The controller polls its workers this often; a checkpoint counts once it was polled.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


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
        AIForgeError: What a worker raised on purpose, or ``training_failed``.
        ray.exceptions.RayActorError: The controller was aborted or killed.
    """
    storage = Storage(plan.storage_uri)
    if storage.exists(train_result_file(plan.job_id)):
        return TrainResult(**storage.read_json(train_result_file(plan.job_id)))
    report.progress(0.0, "preparing data")
    prepared = prepare(plan, report)
    report.progress(0.0, "starting workers")
    trainer = _Trainer(
        on_controller,
        _worker,
        train_loop_config={"plan": plan, "prepared": prepared, "reporter": report},
        torch_config=TorchConfig(backend="nccl" if _gpus() else "gloo"),
        scaling_config=_scaling(plan.config.num_workers),
        run_config=_run_config(plan, storage),
    )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        result = trainer.fit()
    except TrainingFailedError as error:
        raise _translated(error) from error
    assert isinstance(result.return_value, TrainResult)
    return result.return_value


def _worker(config: dict[str, Any]) -> TrainResult | None:
    """The function that Ray Train runs on every worker."""
    from aiforge.training.worker import run

    plan: TrainPlan = config["plan"]
    prepared: Prepared = config["prepared"]
    session = _RaySession()
    result = run(plan, prepared, session, config["reporter"])
    return result if session.rank == 0 else None


class _RaySession:
    """A worker's place in Ray Train's group (see ``worker.Session``)."""

    def __init__(self) -> None:
        from ray.train.torch import get_device

        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world: int = context.get_world_size()
        self.local_world: int = context.get_local_world_size()
        self.device = get_device()

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""
        from torch import distributed

        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def engine(self, module: Any, optimizers: Any, plan: TrainPlan) -> Any:
        """DeepSpeed on the group's own process group."""
        from aiforge.training.deepspeed_config import shipped_config
        from aiforge.training.deepspeed_engine import DeepSpeedEngine

        config = shipped_config(plan.config.zero_stage)
        return DeepSpeedEngine(module, optimizers, config, self.device)

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
        """Upload a checkpoint; one whose upload was not noticed never gets mixed with another."""
        from aiforge.training import checkpoint

        name = f"step-{step:08d}-{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory() as scratch:
            kept = None
            if state is not None:
                directory = Path(scratch) / "checkpoint"
                checkpoint.save(state, directory)
                kept = Checkpoint.from_directory(directory)
            ray.train.report({"step": step}, checkpoint=kept, checkpoint_dir_name=name)


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """A trainer that hands out its controller and does not repeat what fails on purpose."""

    def __init__(self, on_controller: OnController | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_controller = on_controller

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        """Ray's own start of the controller, with a failure policy and a callback of ours."""
        arguments["failure_policy"] = _FailurePolicy(self.run_config.failure_config)
        node = ray.get_runtime_context().get_node_id()
        environment = {name: os.environ[name] for name in _ENVIRONMENT}
        controller = (
            ray.remote(TrainController)
            .options(
                num_cpus=0,
                label_selector={"ray.io/node-id": node},
                runtime_env={"env_vars": environment},
            )
            .remote(**arguments)
        )
        if self._on_controller is not None:
            self._on_controller(controller)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())


class _FailurePolicy(DefaultFailurePolicy):  # type: ignore[misc]
    """Dead workers are replaced; an error that a worker raised on purpose ends the run."""

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Raise at once what would only happen again."""
        if _deliberate(training_failed_error) is not None:
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


def _deliberate(error: TrainingFailedError) -> AIForgeError | None:
    if isinstance(error, WorkerGroupError):
        for cause in error.worker_failures.values():
            if isinstance(cause, AIForgeError):
                return cause
    return None


def _translated(error: TrainingFailedError) -> AIForgeError:
    deliberate = _deliberate(error)
    if deliberate is not None:
        return deliberate
    log.error("Training failed: %s", error)
    causes = getattr(error, "worker_failures", {}) or {0: error}
    first = next(iter(causes.values()))
    line = (str(first).strip() or type(first).__name__).splitlines()[-1]
    return Failure(
        f"The workers failed again and again; the last error was: {line[:500]}. "
        "The job's log has more; a smaller batchSize or maxSeqLength needs less memory.",
        code="training_failed",
    )


def _run_config(plan: TrainPlan, storage: Storage) -> RunConfig:
    parent, _, name = run_dir(plan.job_id).rpartition("/")
    return RunConfig(
        name=name,
        storage_path=storage.uri_of(parent),
        failure_config=FailureConfig(max_failures=plan.max_failures),
        checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
        logging_config=LoggingConfig(log_level="WARNING"),
    )


def _gpus() -> float:
    return float(ray.cluster_resources().get("GPU", 0.0))


def _scaling(workers: int) -> ScalingConfig:
    """Workers that fit into the cluster, be it as small as one core.

    On CPU each asks for less than its share, so that other actors of the platform still fit
    beside them; how many threads compute follows from the node's cores, not from this number.
    """
    if _gpus():
        return ScalingConfig(num_workers=workers, use_gpu=True)
    share = float(ray.cluster_resources().get("CPU", 1.0)) / workers
    return ScalingConfig(
        num_workers=workers, resources_per_worker={"CPU": round(min(1.0, 0.75 * share), 3)}
    )
