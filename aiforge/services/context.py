"""What use cases work with: ``Services`` for a request, ``RunContext`` for a run."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiforge.errors import Cancelled, Forbidden, InvalidInput, NotFound
from aiforge.schemas.access import LOCAL, Origin, Principal
from aiforge.schemas.artifacts import Artifact, ArtifactType
from aiforge.schemas.runs import LogLine, MetricPoint, Run
from aiforge.services import artifacts
from aiforge.services.journal import Journal
from aiforge.services.probes import Probes, Recent
from aiforge.settings import Settings, grown
from aiforge.state import runs, visibility
from aiforge.state.access import State
from aiforge.state.schema import now
from aiforge.storage import Storage
from aiforge.training.plan import Probe, TrainPlan

if TYPE_CHECKING:
    from aiforge.services.access import Access
    from aiforge.services.engines import AnswersHere, Engines
    from aiforge.services.limits import Limiter

_log = logging.getLogger(__name__)


class Services:
    """What a request needs, whoever makes it.

    Args:
        cluster_resources: Gives the cluster's resources by Ray's names (``CPU``, ``GPU``);
            absent where there is no cluster.
        limiter: Counts requests; this process alone where it is absent.
        probe: Measures a training plan on the cluster; absent where there is none.
        answers_here: Generates by llama.cpp; this process does where it is absent.

    ``principal`` is who asks; whoever makes services for a process of the platform itself is
    ``LOCAL``.
    """

    def __init__(
        self,
        state: State,
        storage: Storage,
        settings: Settings,
        cluster_resources: Callable[[], Mapping[str, float]] | None = None,
        limiter: Limiter | None = None,
        probe: Callable[[TrainPlan], Awaitable[Probe]] | None = None,
        answers_here: AnswersHere | None = None,
    ) -> None:
        self.state = state
        self.storage = storage
        self.settings = settings
        self.probes = Probes(state, settings.ollama_url)
        self.started_at = time.monotonic()
        self.principal = LOCAL
        self._limiter = limiter
        self._cluster_resources = Recent(cluster_resources) if cluster_resources else None
        self.probe = probe
        self._engines = _Lazy(answers_here)

    @cached_property
    def access(self) -> Access:
        """Turns credentials into principals."""
        from aiforge.services.access import Access

        return Access(self.state, self.settings)

    @cached_property
    def limiter(self) -> Limiter:
        """Counts requests."""
        from aiforge.services.limits import LocalLimiter, quotas

        return self._limiter or LocalLimiter(quotas(self.settings))

    @property
    def engines(self) -> Engines:
        """What answers; shared by all who ask this process."""
        return self._engines.get(self)

    def on_behalf(self, principal: Principal, origin: Origin) -> Services:
        """The same services for one request: what they write is audited under who asked."""
        mine = copy.copy(self)
        mine.principal = principal
        mine.state = self.state.on_behalf(origin)
        return mine

    @property
    def projects(self) -> list[str] | None:
        """The projects whose resources may be seen; ``None`` for all."""
        bound = self.principal.projects
        return None if bound is None else sorted(bound)

    async def require_visible(self, resource_ids: Collection[str], noun: str) -> None:
        """Refuse resources of projects that the one who asks is not bound to.

        Raises:
            NotFound: One of them is not there, as far as the one who asks can tell.
        """
        if self.projects is None:
            return
        for resource_id in resource_ids:
            if not await self.state.call(visibility.allowed, resource_id, self.projects):
                raise NotFound(f"There is no {noun} {resource_id}.", code=f"{noun}_not_found")

    def only_project(self, name: str | None) -> str | None:
        """The project that a list is about; ``None`` for all, where all may be seen.

        Raises:
            Forbidden: It is another project than the one who asks is bound to.
            InvalidInput: The one who asks is bound to several, and has to say which.
        """
        if self.projects is None:
            return name
        if name is None and len(self.projects) == 1:
            return self.projects[0]
        if name is None:
            raise InvalidInput(
                f"This credential is bound to {', '.join(self.projects)}; name one of them with "
                "projectName.",
                code="project_missing",
                field="projectName",
                error="Required",
            )
        self.require_project(name)
        return name

    def require_project(self, name: str) -> None:
        """Refuse a project that the one who asks is not bound to.

        Raises:
            Forbidden: The message names those that would do.
        """
        if self.projects is not None and name not in self.projects:
            raise Forbidden(
                f"This credential is bound to {', '.join(self.projects)}; {name!r} is another "
                "project.",
                code="other_project",
            )

    @property
    def cluster_resources(self) -> Mapping[str, float]:
        """What the cluster has or can grow to, by Ray's names; empty where there is none."""
        return grown(self.resources_now, self.settings.cluster_limits)

    @property
    def resources_now(self) -> Mapping[str, float]:
        """What the cluster had some seconds ago, by Ray's names; empty where there is none."""
        return self._cluster_resources() if self._cluster_resources else {}

    @property
    def gpus(self) -> float:
        """Number of GPUs that the cluster has or can grow to; 0 where there is none."""
        return self.cluster_resources.get("GPU", 0.0)


class _Lazy:
    """The engines of a process, made when they are first needed; copies of services share it."""

    def __init__(self, answers_here: AnswersHere | None) -> None:
        self._answers_here = answers_here
        self._engines: Engines | None = None

    def get(self, services: Services) -> Engines:
        if self._engines is None:
            from aiforge.services.engines import Engines

            self._engines = Engines(services.storage, services.settings, self._answers_here)
        return self._engines


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
        _repeat(message, level)
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
        _repeat(message, level)
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


def _repeat(message: str, level: str) -> None:
    """Have an operator see, beside all else, what the run's own log has to warn of."""
    if level in ("warning", "error"):
        _log.warning("%s", message)


def _guarded(callback: Callable[[], None]) -> None:
    """One callback that fails must not keep the others from running."""
    try:
        callback()
    except Exception:
        _log.exception("A callback on cancellation failed")
