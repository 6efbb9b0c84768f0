"""A process that carries out one attempt of a run and kills itself on the way."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from aiforge.runtime.drivers import Driver
from aiforge.services.context import RunContext
from aiforge.settings import Settings
from aiforge.state.access import LocalState
from aiforge.state.store import Store

PUBLISHED = "published"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, run_id: str, attempt: int, where: str) -> None:
    report = RunContext.progress

    def progress(
        self: RunContext, fraction: float, stage: str | None = None, **metrics: Any
    ) -> None:
        report(self, fraction, stage, **metrics)
        if stage == where:
            die()

    RunContext.progress = progress  # type: ignore[method-assign]
    if where == PUBLISHED:
        RunContext.artifact = lambda *given, **named: die()  # type: ignore[assignment]
    settings = Settings(home=Path(home))
    state = LocalState(Store(settings.resolved_database_url))
    Driver(settings, run_id, attempt, state=state).join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
