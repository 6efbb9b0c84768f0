"""Ray Train's controller as the platform needs it: it can be aborted, it does not repeat what fails
on purpose, and on one small machine it starts no process that has nothing to do.

Ray Train has no public hooks for these; what is used of its internals is pinned with its version.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.constants import (
    ENABLE_PREEMPTION_WATCHER_ENV_VAR,
    HEALTH_CHECK_INTERVAL_S_ENV_VAR,
)
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.execution.failure_handling.default import DefaultFailurePolicy
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from aiforge.errors import AIForgeError, Cancelled, Failure
from aiforge.schemas.jobs import JobConfig

log = logging.getLogger(__name__)

OnController = Callable[[ActorHandle], None]

POLL_SECONDS = "1"
"""How often the controller asks its workers how they are; what they report waits that long."""


class AbortableTrainer(TorchTrainer):  # type: ignore[misc]
    """A trainer that hands out its controller before it runs.

    Args:
        on_controller: Called with the controller's handle in the process that calls ``fit``.
    """

    def __init__(self, on_controller: OnController | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_controller = on_controller

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        """Ray's own start of the controller, with our failure policy and callbacks."""
        arguments["failure_policy"] = _FailurePolicy(self.run_config.failure_config)
        # Rows are read from the storage; the callback would start a process that serves nothing.
        arguments["callbacks"] = [
            callback
            for callback in arguments["callbacks"]
            if not isinstance(callback, DatasetsCallback)
        ]
        node = ray.get_runtime_context().get_node_id()
        options = {"num_cpus": 0, "label_selector": {"ray.io/node-id": node}}
        controller = ray.remote(_Controller).options(**options).remote(**arguments)
        if self._on_controller is not None:
            self._on_controller(controller)
        try:
            ray.get(controller.run.remote())
        except ray.exceptions.ActorDiedError as error:
            # Ray tells a controller that left by itself from one that was killed in words only.
            if "INTENDED_USER_EXIT" in str(error):
                raise Cancelled("Training was aborted; its last checkpoint is kept.") from error
            raise
        return ray.get(controller.get_result.remote())


class _Controller(TrainController):  # type: ignore[misc]
    """A controller that watches for the reclaim of nodes only where there are several.

    What it is told by variables must not reach its workers: with variables of their own they
    could not be started in processes that Ray holds ready.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        several = sum(node["Alive"] for node in ray.nodes()) > 1
        told = {
            HEALTH_CHECK_INTERVAL_S_ENV_VAR: POLL_SECONDS,
            ENABLE_PREEMPTION_WATCHER_ENV_VAR: "1" if several else "0",
        }
        added = told.keys() - os.environ.keys()
        os.environ |= {name: told[name] for name in added}
        super().__init__(*args, **kwargs)
        for name in added:
            del os.environ[name]


class _FailurePolicy(DefaultFailurePolicy):  # type: ignore[misc]
    """Dead workers are replaced; an error that a worker raised on purpose ends the run."""

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Raise at once what would only happen again."""
        if deliberate(training_failed_error) is not None:
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


def deliberate(error: TrainingFailedError) -> AIForgeError | None:
    """The error that a worker raised on purpose, if that is what ended the run."""
    if isinstance(error, WorkerGroupError):
        for cause in error.worker_failures.values():
            if isinstance(cause, AIForgeError):
                return cause
    return None


def translated(error: TrainingFailedError, config: JobConfig) -> AIForgeError:
    """The platform's error for what Ray Train gave up on."""
    if (cause := deliberate(error)) is not None:
        return cause
    log.error("Training failed: %s", error)
    causes = getattr(error, "worker_failures", {}) or {0: error}
    first = next(iter(causes.values()))
    if any(isinstance(cause, ray.exceptions.OutOfMemoryError) for cause in causes.values()):
        from aiforge.training.watch import out_of_memory

        return out_of_memory(config, "on a node, so that Ray ended a worker")
    line = (str(first).strip() or type(first).__name__).splitlines()[-1]
    return Failure(
        f"The workers failed again and again; the last error was: {line[:500]}. "
        "The job's log has more; a smaller batchSize or maxSeqLength needs less memory.",
        code="training_failed",
    )
