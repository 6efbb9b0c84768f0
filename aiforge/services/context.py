"""What use cases work with: ``Services`` for a request, ``RunContext`` for a run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiforge.errors import Cancelled
from aiforge.schemas.artifacts import Artifact, ArtifactType
from aiforge.schemas.runs import LogLine, MetricPoint, Run
from aiforge.services import artifacts
from aiforge.services.journal import Journal
from aiforge.services.probes import Probes
from aiforge.settings import Settings
from aiforge.state import runs
from aiforge.state.access import State
from aiforge.state.schema import now
from aiforge.storage import Storage

_log = logging.getLogger(__name__)


class Services:
    """What a request needs, whoever makes it.

    Args:
        cluster_resources: Gives the cluster's resources by Ray's names (``CPU``, ``GPU``);
            absent where there is no cluster.
    """

    def __init__(
        self,
        state: State,
        storage: Storage,
        settings: Settings,
        cluster_resources: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        self.state = state
        self.storage = storage
        self.settings = settings
        self.probes = Probes(settings.ollama_url)
        self.started_at = time.monotonic()
        self._cluster_resources = cluster_resources

    @property
    def gpus(self) -> float:
        """Number of GPUs in the cluster; 0 where there is none."""
        return self._cluster_resources().get("GPU", 0.0) if self._cluster_resources else 0.0


@dataclass(frozen=True)
class Reporter:
    """Reports about a run from another process than its driver's; picklable.

    Every method returns at once, and none raises: what cannot be delivered is lost. ``share`` is
    the part of the run's progress that is reported on, from its beginning.
    """

    state: State
    run_id: str
    attempt: int
    share: float = 1.0

    def metrics(self, points: Sequence[MetricPoint]) -> None:
        """Add what training steps measured."""
        self._send(runs.Report(points=list(points)))

    def log(self, message: str, level: str = "info") -> None:
        """Add one line to the run's log."""
        line = LogLine(sequence=0, at=now(), level=level, message=message)
        self._send(runs.Report(logs=[line]))

    def progress(self, fraction: float, stage: str | None = None, **metrics: Any) -> None:
        """Say how far the run is, 0 to 1; ``metrics`` are fields of ``JobMetrics``."""
        progress = 100 * fraction * self.share
        self._send(runs.Report(progress=progress, stage=stage, figures=metrics))

    def _send(self, report: runs.Report) -> None:
        self.state.send(runs.record, self.run_id, self.attempt, report)


class RunContext:
    """What a driver hands to the work of a run."""

    def __init__(
        self, run: Run, settings: Settings, storage: Storage, state: State, journal: Journal
    ) -> None:
        self.run = run
        self.settings = settings
        self.storage = storage
        self.state = state
        self._journal = journal
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def progress(self, fraction: float, stage: str | None = None, **metrics: Any) -> None:
        """Say how far the run is, 0 to 1, and raise ``Cancelled`` where it is to stop."""
        self._journal.progress(fraction, stage, **metrics)
        self.check_cancelled()

    def log(self, message: str, level: str = "info") -> None:
        """Add one line to the run's log."""
        self._journal.log(message, level)

    def metrics(self, points: Sequence[MetricPoint]) -> None:
        """Add what training steps measured."""
        self._journal.metrics(points)

    def artifact(
        self,
        type: ArtifactType,
        name: str,
        content: bytes,
        mime_type: str,
        *,
        resource_ids: Sequence[str] = (),
    ) -> Artifact:
        """Leave something for people to look at; a second time, that of the same name is replaced.

        Args:
            content: For a ``chart`` a Vega-Lite specification with its data, for a ``report``
                Markdown, for a ``log`` plain text.
            mime_type: Without parameters; texts are UTF-8.
            resource_ids: What it is about beside the run and the run's own resource.

        Raises:
            Conflict: The attempt was overtaken, or the run has ended.
        """
        return artifacts.keep(
            self.state,
            self.storage,
            self.run.id,
            type,
            name,
            content,
            mime_type,
            resource_ids=[self.run.resource_id, *resource_ids],
            attempt=self.run.attempt,
        )

    def reporter(self, share: float = 1.0) -> Reporter:
        """A picklable reporter for the processes that the work starts.

        Args:
            share: Part of the run's progress that it reports on.
        """
        return Reporter(self.state, self.run.id, self.run.attempt, share)

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is to stop."""
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """Raise ``Cancelled`` where the run is to stop."""
        if self.is_cancelled:
            raise Cancelled("Cancelled on request.")

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have a callback run, in another thread, when the run is to stop; at once if it is."""
        with self._lock:
            self._callbacks.append(callback)
            late = self.is_cancelled
        if late:
            _guarded(callback)

    def cancel(self) -> None:
        """Tell the work to stop; a second time nothing happens."""
        with self._lock:
            if self.is_cancelled:
                return
            self._cancelled.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            _guarded(callback)


def _guarded(callback: Callable[[], None]) -> None:
    """One callback that fails must not keep the others from running."""
    try:
        callback()
    except Exception:
        _log.exception("A callback on cancellation failed")
