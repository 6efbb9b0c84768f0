"""How runs end, and what that does to the resource they worked on, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict
from sqlalchemy import Connection

from aiforge.errors import Conflict, InternalError
from aiforge.schemas.common import Wire
from aiforge.schemas.drifts import Drift
from aiforge.schemas.runs import Run, RunKind, RunStatus
from aiforge.state import (
    datasets,
    deployments,
    events,
    exports,
    lifecycles,
    logs,
    models,
    runs,
    sources,
    validations,
)
from aiforge.state.ops import write
from aiforge.state.schema import now, storable

MAX_ATTEMPTS = 3


class TrainOutcome(Wire):
    """What a training run leaves behind; further keys are kept in the job's ``result``."""

    model_config = ConfigDict(extra="allow")

    adapter_path: str | None = None
    steps: int
    final_loss: float | None = None
    train_tokens: int = 0
    tokens_per_second: float | None = None


def _trained(connection: Connection, run: Run, outcome: TrainOutcome) -> None:
    """Register the model and queue its validation, so that neither is ever without the other."""
    model_id = models.register(connection, run)
    spec = {**run.spec, "job_id": run.id, "model_id": model_id}
    validations.queue(connection, validations.ValidateSpec.model_validate(spec), run)


def _measured(connection: Connection, run: Run, drift: Drift) -> None:
    """A measurement stands in its run's result alone."""


def _nothing(connection: Connection, run: Run, error: str, code: str) -> None:
    """A job has no resource beside itself."""


@dataclass(frozen=True)
class _Effect:
    """What the end of a run of one kind means for its resource."""

    outcome: type[Wire]
    completed: Callable[[Connection, Run, Any], None]
    stopped: Callable[[Connection, Run, str, str], None]


_EFFECTS: Mapping[RunKind, _Effect] = {
    RunKind.SYNC: _Effect(sources.SyncOutcome, sources.synced, sources.sync_stopped),
    RunKind.GENERATE: _Effect(
        datasets.GenerateOutcome, datasets.generated, datasets.generation_stopped
    ),
    RunKind.TRAIN: _Effect(TrainOutcome, _trained, _nothing),
    RunKind.EXPORT: _Effect(exports.ExportOutcome, exports.exported, exports.export_stopped),
    RunKind.DEPLOY: _Effect(deployments.DeployOutcome, deployments.done, deployments.stopped),
    RunKind.VALIDATE: _Effect(
        validations.ValidateOutcome, validations.validated, validations.validation_stopped
    ),
    RunKind.DRIFT: _Effect(Drift, _measured, _nothing),
}


def _effect(run: Run) -> _Effect:
    try:
        return _EFFECTS[run.kind]
    except KeyError:
        raise InternalError(f"Runs of kind {run.kind} have no outcome.") from None


@write
def complete(connection: Connection, run_id: str, attempt: int, result: dict[str, Any]) -> Run:
    """Finish a run successfully, and its resource with it.

    Args:
        result: The outcome of the run's kind, as keys and values.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
        ValidationError: The result is no outcome of this kind.
    """
    run = runs.require_attempt(connection, run_id, attempt)
    if run.status is RunStatus.CANCELLING:
        return _cancelled(connection, run)
    effect = _effect(run)
    outcome = effect.outcome.model_validate(result)
    done = runs.change(
        connection,
        run,
        RunStatus.COMPLETED,
        progress=100.0,
        result=outcome.model_dump(mode="json", by_alias=True),
    )
    effect.completed(connection, done, outcome)
    return done


@write
def fail(connection: Connection, run_id: str, attempt: int, error: str, code: str) -> Run:
    """Finish a run with an error; where its cancellation was asked for, as cancelled.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    run = runs.require_attempt(connection, run_id, attempt)
    if run.status is RunStatus.CANCELLING:
        return _cancelled(connection, run)
    return _failed(connection, run, error, code)


@write
def refuse(connection: Connection, run_id: str, error: str, code: str) -> Run:
    """Fail a run that waits and can never start.

    Raises:
        Conflict: The run does not wait any more.
    """
    run = runs.get(connection, run_id)
    if run.status is not RunStatus.QUEUED:
        raise Conflict(f"{run_id} is {run.status}.", code="run_not_queued")
    return _failed(connection, run, error, code)


@write
def cancel(connection: Connection, run_id: str) -> Run:
    """Ask for a run to be cancelled: at once while it waits, soon while it runs.

    To cancel twice is no error.

    Raises:
        NotFound: There is no such run.
        Conflict: The run has ended otherwise.
    """
    run = runs.get(connection, run_id)
    match run.status:
        case RunStatus.QUEUED:
            return _cancelled(connection, run)
        case RunStatus.RUNNING:
            return runs.change(connection, run, RunStatus.CANCELLING, cancel_requested_at=now())
        case RunStatus.CANCELLING | RunStatus.CANCELLED:
            return run
    noun = "job" if run.kind is RunKind.TRAIN else "run"
    raise Conflict(
        f"{run_id} is already {run.status}; only what waits or runs can be cancelled.",
        code=f"{noun}_is_{run.status}",
        status=str(run.status),
    )


@write
def cancelled(connection: Connection, run_id: str, attempt: int) -> Run:
    """Finish a run whose cancellation was asked for.

    Raises:
        Conflict: Nobody asked for it, or another attempt is under way.
    """
    return _cancelled(connection, runs.require_attempt(connection, run_id, attempt))


@write
def recover(connection: Connection, run_id: str, attempt: int, reason: str) -> Run:
    """An attempt's driver is gone without a word: begin the next attempt, or end the run.

    Nothing happens where the attempt is over already. A run that was to be cancelled is
    cancelled; after ``MAX_ATTEMPTS`` it has failed.
    """
    run = runs.get(connection, run_id)
    if run.attempt != attempt or run.status in lifecycles.RUN.terminal:
        return run
    if run.status is RunStatus.CANCELLING:
        return _cancelled(connection, run)
    if attempt >= MAX_ATTEMPTS:
        return _failed(
            connection,
            run,
            f"Gave up after {attempt} attempts: {reason}. The log tells how far each one came.",
            "driver_lost",
        )
    logs.say(connection, run_id, f"Attempt {attempt} ended: {reason}; trying again.", "warning")
    connection.execute(
        runs.runs.update()
        .where(runs.runs.c.id == run_id)
        .values(attempt=attempt + 1, heartbeat_at=now())
    )
    noun = "job" if run.kind is RunKind.TRAIN else "run"
    events.append(connection, f"{noun}.restarted", run_id, attempt=attempt + 1, reason=reason)
    return runs.get(connection, run_id)


def _failed(connection: Connection, run: Run, error: str, code: str) -> Run:
    error = storable(error)
    failed = runs.change(connection, run, RunStatus.FAILED, error=error, error_code=code)
    logs.say(connection, run.id, error, "error")
    _effect(run).stopped(connection, failed, error, code)
    return failed


def _cancelled(connection: Connection, run: Run) -> Run:
    done = runs.change(connection, run, RunStatus.CANCELLED)
    logs.say(connection, run.id, "Cancelled on request.", "warning")
    _effect(run).stopped(connection, done, "Cancelled on request.", "cancelled")
    return done
