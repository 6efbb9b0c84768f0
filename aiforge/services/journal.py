"""What a run tells about itself, gathered and sent without ever holding up its work."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from aiforge.errors import AIForgeError, Conflict, Unavailable
from aiforge.schemas.runs import LogLine, MetricPoint, Run, RunStatus
from aiforge.state import runs
from aiforge.state.access import State
from aiforge.state.schema import now

FLUSH_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
LONGEST_BUFFER = 10_000
"""Lines and points that are kept while the state is away; the oldest go first."""

_log = logging.getLogger(__name__)


class Journal:
    """Buffers logs, metrics and progress of one attempt; a thread sends them and the heartbeat.

    Args:
        run: The run; its ``attempt`` fences off a writer that was overtaken.
        on_status: Called with the run's status at each heartbeat and report.
        on_stale: Called when the attempt is no longer the run's current one.
    """

    def __init__(
        self,
        state: State,
        run: Run,
        *,
        on_status: Callable[[RunStatus], None] = lambda status: None,
        on_stale: Callable[[], None] = lambda: None,
    ) -> None:
        self._state = state
        self._run = run
        self._on_status = on_status
        self._on_stale = on_stale
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._lines: deque[LogLine] = deque(maxlen=LONGEST_BUFFER)
        self._points: deque[MetricPoint] = deque(maxlen=LONGEST_BUFFER)
        self._rest = runs.Report()
        self._heartbeat_due = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="journal", daemon=True)
        self._thread.start()

    def log(self, message: str, level: str = "info") -> None:
        """Add one line to the run's log."""
        with self._lock:
            self._lines.append(LogLine(sequence=0, at=now(), level=level, message=message))

    def metrics(self, points: Sequence[MetricPoint]) -> None:
        """Add what training steps measured."""
        with self._lock:
            self._points.extend(points)

    def progress(self, fraction: float, stage: str | None, **figures: Any) -> None:
        """Say how far the run is; only the newest word is sent."""
        with self._lock:
            self._rest = runs.Report(
                progress=100 * fraction,
                stage=stage if stage is not None else self._rest.stage,
                figures=self._rest.figures | figures,
            )

    def flush(self) -> bool:
        """Send what was gathered; false where the state is away, and it is kept for later."""
        with self._sending:
            report = self._take()
            if report == runs.Report():
                return True
            try:
                status = self._state.call_sync(runs.record, self._run.id, self._run.attempt, report)
            except Conflict:
                self._on_stale()
            except Unavailable as error:
                _log.warning("A report of %s waits: %s", self._run.id, error.message)
                self._put_back(report)
                return False
            except AIForgeError as error:
                _log.error("A report of %s was refused: %s", self._run.id, error.message)
            else:
                self._on_status(status)
            return True

    def close(self) -> None:
        """Send the rest and end the thread; the heartbeat ends with it."""
        self._closing.set()
        self._thread.join()
        self.flush()

    def _take(self) -> runs.Report:
        with self._lock:
            report = self._rest.model_copy(
                update={"logs": list(self._lines), "points": list(self._points)}
            )
            self._lines.clear()
            self._points.clear()
            self._rest = runs.Report()
        return report

    def _put_back(self, report: runs.Report) -> None:
        with self._lock:
            lines = [*report.logs, *self._lines]
            points = [*report.points, *self._points]
            self._lines.clear()
            self._lines.extend(lines)
            self._points.clear()
            self._points.extend(points)
            newer = self._rest
            self._rest = runs.Report(
                progress=report.progress if newer.progress is None else newer.progress,
                stage=newer.stage or report.stage,
                figures=report.figures | newer.figures,
            )

    def _loop(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self.flush()
            if time.monotonic() >= self._heartbeat_due:
                self._beat()

    def _beat(self) -> None:
        try:
            run = self._state.call_sync(runs.heartbeat, self._run.id, self._run.attempt)
        except Conflict:
            self._on_stale()
        except AIForgeError as error:
            _log.warning("The heartbeat of %s is late: %s", self._run.id, error.message)
        else:
            self._heartbeat_due = time.monotonic() + HEARTBEAT_SECONDS
            self._on_status(run.status)
