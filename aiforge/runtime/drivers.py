"""Drivers: one detached actor per attempt of a run, which does its work and reports."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Protocol

import ray
from pydantic import ValidationError
from ray.exceptions import RayError, RayTaskError

from aiforge import logs
from aiforge.errors import AIForgeError, Cancelled, Conflict, InternalError, Unavailable
from aiforge.runtime.placements import Placements
from aiforge.schemas.runs import Resources, Run, RunStatus
from aiforge.services.context import RunContext
from aiforge.services.journal import Journal
from aiforge.services.work import WorkOf, work_of
from aiforge.settings import Settings, grown
from aiforge.state import outcomes, runs
from aiforge.state.access import State
from aiforge.state.actor import RayState
from aiforge.storage import Storage

Attempt = tuple[str, int]
"""A run's id and the number of one of its attempts."""

PREFIX = "run:"
FINISH_SECONDS = 600.0
"""How long the end of a run is kept while the state is away; then the next attempt repeats it."""

RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Driver:
    """Carries out one attempt of a run: load, work, report.

    The work begins by itself in a thread, so that creating the driver is all it takes to start
    a run, whatever becomes of the one who created it.
    """

    def __init__(
        self,
        settings: Settings,
        run_id: str,
        attempt: int,
        work_of: WorkOf = work_of,
        state: State | None = None,
    ) -> None:
        self._settings = settings
        self._run_id = run_id
        self._attempt = attempt
        self._work_of = work_of
        self._state = state or RayState(settings.namespace)
        self._done = threading.Event()
        self._cancel = threading.Event()
        self._context: RunContext | None = None
        threading.Thread(target=self._execute, name="driver", daemon=True).start()

    def cancel(self) -> None:
        """Tell the work to stop; the callbacks that it registered run in another thread."""
        self._cancel.set()
        if self._context is not None:
            threading.Thread(target=self._context.cancel, name="cancel", daemon=True).start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the attempt; whether it came within the time."""
        return self._done.wait(timeout)

    def _execute(self) -> None:
        try:
            run = self._state.call_sync(runs.heartbeat, self._run_id, self._attempt)
            self._carry_out(run)
        except Conflict:
            _log.warning("Attempt %s of %s was overtaken", self._attempt, self._run_id)
        except Exception:
            _log.exception("Attempt %s of %s could not report", self._attempt, self._run_id)
        finally:
            self._done.set()

    def _carry_out(self, run: Run) -> None:
        journal = Journal(self._state, run, on_status=self._on_status, on_stale=self.cancel)
        context = RunContext(
            run,
            self._settings,
            Storage(self._settings.resolved_storage_uri),
            self._state,
            journal,
        )
        self._context = context
        if self._cancel.is_set() or run.status is RunStatus.CANCELLING:
            context.cancel()
        try:
            finish = self._work(context)
            self._finish(finish, journal)
        finally:
            journal.close()

    def _on_status(self, status: RunStatus) -> None:
        # The second way by which a cancellation arrives, should the dispatcher be away.
        if status is RunStatus.CANCELLING and not self._cancel.is_set():
            self.cancel()

    def _work(self, context: RunContext) -> Callable[[], Run]:
        """Do the work and return the write that ends the run."""
        run_id, attempt, call = self._run_id, self._attempt, self._state.call_sync
        begun = time.monotonic()
        _log.info("Attempt %s of %s %s begins", attempt, context.run.kind, run_id)
        try:
            context.check_cancelled()
            result = self._work_of(context.run.kind)(context)
            context.check_cancelled()
            _log.info("%s is done after %.1f s", run_id, time.monotonic() - begun)
            return partial(call, outcomes.complete, run_id, attempt, result)
        except Exception as error:
            if context.is_cancelled:
                _log.info("%s stopped after %.1f s", run_id, time.monotonic() - begun)
                return partial(call, outcomes.cancelled, run_id, attempt)
            return self._failing(_tell(context, error))

    def _finish(self, finish: Callable[[], Run], journal: Journal) -> None:
        """Write the end of the run, however long the state takes to come back."""
        deadline = time.monotonic() + FINISH_SECONDS
        refused = False
        while True:
            try:
                # What was reported goes first: nothing can be added once the run has ended.
                if journal.flush():
                    finish()
                    return
            except Unavailable as error:
                _log.warning("The end of %s waits: %s", self._run_id, error.message)
            except (ValidationError, InternalError) as error:
                if refused:
                    raise
                refused = True
                _log.error("The outcome of %s was refused: %s", self._run_id, error)
                finish = self._failing(
                    InternalError("The work gave a result that cannot be stored.")
                )
                continue
            if time.monotonic() > deadline:
                raise Unavailable(f"The state did not come back for the end of {self._run_id}.")
            time.sleep(RETRY_SECONDS)

    def _failing(self, told: AIForgeError) -> Callable[[], Run]:
        call = self._state.call_sync
        return partial(call, outcomes.fail, self._run_id, self._attempt, told.message, told.code)


def about(run: Run) -> dict[str, Any]:
    """What log lines about a run carry."""
    found: dict[str, Any] = {"run": run.id, "attempt": run.attempt, "kind": str(run.kind)}
    return found if run.request_id is None else found | {"request": run.request_id}


def _tell(context: RunContext, error: Exception) -> AIForgeError:
    """What is shown of an error; the trace of one that nobody foresaw goes to the run's log."""
    origin = _origin(error)
    if isinstance(origin, AIForgeError) and not isinstance(origin, Cancelled):
        _log.warning("%s failed: %s (%s)", context.run.id, origin.message, origin.code)
        return origin
    _log.error("%s failed in a way that nobody foresaw", context.run.id, exc_info=error)
    context.log("".join(traceback.format_exception(error)), "error")
    return InternalError("The work failed in a way that nobody foresaw; its log has the trace.")


def _origin(error: BaseException | None) -> BaseException | None:
    """The error below those that Ray wraps around what a task or a worker raised."""
    while error is not None and type(error).__module__.startswith("ray."):
        error = error.cause if isinstance(error, RayTaskError) else error.__cause__
    return error


class Drivers(Protocol):
    """What the dispatcher needs of the cluster; a seam, so that admission is tested without one."""

    async def start(self, run: Run) -> None:
        """Create the driver of the run's current attempt."""

    async def attach(self, run: Run) -> Awaitable[None] | None:
        """What completes when the attempt's driver is gone; ``None`` where there is none."""

    async def cancel(self, run: Run) -> None:
        """Tell the attempt's driver to stop its work."""

    async def kill(self, run: Run) -> None:
        """End the attempt's driver at once."""

    async def sweep(self, wanted: Collection[Attempt]) -> None:
        """End every driver but those of these attempts, and free what dead ones occupied."""

    async def capacity(self) -> Resources:
        """What the cluster has in all."""


class DriverActor(Driver):
    """A driver with what concerns its being an actor."""

    def __init__(
        self, settings: Settings, run_id: str, attempt: int, work_of: WorkOf = work_of
    ) -> None:
        logs.install(settings, "driver")
        logs.name_process(run=run_id, attempt=attempt)
        super().__init__(settings, run_id, attempt, work_of)

    def _carry_out(self, run: Run) -> None:
        # The process does nothing else, in whatever thread.
        logs.name_process(**about(run))
        super()._carry_out(run)

    def leave(self) -> None:
        """Wait for the end of the attempt and end the actor with it."""
        self.join()
        ray.actor.exit_actor()


class RayDrivers:
    """Drivers as detached actors on the head node.

    Ray never restarts one: the dispatcher does, with the next attempt's number, which fences
    off whatever the last one may still send.
    """

    def __init__(self, settings: Settings, work_of: WorkOf = work_of) -> None:
        self._settings = settings
        self._work_of = work_of
        self._actor = ray.remote(DriverActor)
        self._placements = Placements()

    async def start(self, run: Run) -> None:
        await asyncio.to_thread(self._start, run)

    def _start(self, run: Run) -> None:
        self._actor.options(
            name=_name(run.id, run.attempt),
            namespace=self._settings.namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={"node:__internal_head__": 0.001},
            max_restarts=0,
            max_concurrency=8,
        ).remote(self._settings, run.id, run.attempt, self._work_of)

    async def attach(self, run: Run) -> Awaitable[None] | None:
        handle = await self._find(_name(run.id, run.attempt))
        return None if handle is None else _gone(handle)

    async def cancel(self, run: Run) -> None:
        handle = await self._find(_name(run.id, run.attempt))
        if handle is not None:
            handle.cancel.remote()

    async def kill(self, run: Run) -> None:
        await self._kill(_name(run.id, run.attempt))

    async def _kill(self, name: str) -> None:
        handle = await self._find(name)
        if handle is not None:
            await asyncio.to_thread(ray.kill, handle)

    async def sweep(self, wanted: Collection[Attempt]) -> None:
        names = {_name(*attempt) for attempt in wanted}
        for name in await asyncio.to_thread(self._names):
            if name not in names:
                await self._kill(name)
        try:
            await asyncio.to_thread(self._placements.sweep)
        except Exception as error:
            # The dashboard may be away; drivers do not wait for it.
            _log.warning("Placement groups were not looked at: %s", error)

    def _names(self) -> list[str]:
        actors = ray.util.list_named_actors(all_namespaces=True)
        return [
            actor["name"]
            for actor in actors
            if actor["namespace"] == self._settings.namespace and actor["name"].startswith(PREFIX)
        ]

    async def capacity(self) -> Resources:
        there = await asyncio.to_thread(ray.cluster_resources)
        found = grown(there, self._settings.cluster_limits)
        return Resources(
            cpus=found.get("CPU", 0.0),
            gpus=found.get("GPU", 0.0),
            memory_bytes=int(found.get("memory", 0)),
        )

    async def _find(self, name: str) -> Any:
        try:
            return await asyncio.to_thread(ray.get_actor, name, namespace=self._settings.namespace)
        except (ValueError, RayError):
            return None


async def _gone(handle: Any) -> None:
    try:
        await handle.leave.remote()
    except RayError:
        # That it is gone is what was waited for; how it ended stands in the state.
        return


def _name(run_id: str, attempt: int) -> str:
    return f"{PREFIX}{run_id}:{attempt}"
