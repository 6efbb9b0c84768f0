"""Work functions that runtime tests have drivers carry out; the source's name picks one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiforge.errors import Failure
from aiforge.schemas.runs import MetricPoint, RunKind
from aiforge.services.context import RunContext
from aiforge.state import sources

OUTCOME = {
    "revision": "abc",
    "file_count": 1,
    "skipped_count": 0,
    "total_bytes": 1,
    "snapshot": "sources/s/snapshots/abc",
}


def work_of(kind: RunKind) -> Callable[[RunContext], dict[str, Any]]:
    return execute


def execute(context: RunContext) -> dict[str, Any]:
    source = context.state.call_sync(sources.get, context.run.resource_id)
    context.log(f"{source.name}: attempt {context.run.attempt}, process {os.getpid()}")
    return WORKS[source.name](context)


def brief(context: RunContext) -> dict[str, Any]:
    reporter = context.reporter()
    reporter.metrics([MetricPoint(step=1, loss=2.0, learning_rate=0.1, grad_norm=1.0)])
    context.progress(0.5, "half way", total_steps=2)
    return OUTCOME


def patient(context: RunContext) -> dict[str, Any]:
    """Work until the test says so, or until it is cancelled."""
    while not released(context).exists():
        context.progress(0.1, "waiting")
        time.sleep(0.05)
    return OUTCOME


def telling(context: RunContext) -> dict[str, Any]:
    """Say which settings it was given."""
    context.log(f"syncs every {context.settings.sync_seconds} s")
    return OUTCOME


def blocking(context: RunContext) -> dict[str, Any]:
    """Only a callback can end this, as it is with Ray Train's controller."""
    mark = context.settings.home / f"{context.run.id}.aborted"
    context.on_cancel(mark.touch)
    while not mark.exists():
        time.sleep(0.05)
    raise Failure("The controller was aborted.")


def stubborn(context: RunContext) -> dict[str, Any]:
    """Work that does not stop by itself."""
    time.sleep(600)
    return OUTCOME


def refusing(context: RunContext) -> dict[str, Any]:
    raise Failure("The repository is empty; choose another one.", code="source_empty")


def refusing_in_a_task(context: RunContext) -> dict[str, Any]:
    import ray

    return dict(ray.get(ray.remote(num_cpus=0)(refusing).remote(None)))


def broken(context: RunContext) -> dict[str, Any]:
    raise ZeroDivisionError("secret internals")


def shapeless(context: RunContext) -> dict[str, Any]:
    return {"nothing": "of use"}


def dying_once(context: RunContext) -> dict[str, Any]:
    if context.run.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return OUTCOME


def dying(context: RunContext) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return OUTCOME


def released(context: RunContext) -> Path:
    return context.settings.home / f"{context.run.id}.release"


WORKS: dict[str, Callable[[RunContext], dict[str, Any]]] = {
    work.__name__: work
    for work in (
        brief,
        patient,
        telling,
        blocking,
        stubborn,
        refusing,
        refusing_in_a_task,
        broken,
        shapeless,
        dying_once,
        dying,
    )
}
