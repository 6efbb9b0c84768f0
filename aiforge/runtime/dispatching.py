"""What the dispatcher does: admits runs, starts their drivers, sets right what a crash left behind.

It keeps nothing that it cannot find out again from the state and the cluster, so it may die at
any moment. Between two passes it sleeps until something happens.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timedelta

from aiforge import logs
from aiforge.errors import Conflict, Unavailable
from aiforge.memory import give_memory_back
from aiforge.runtime.admission import Decision, Verdict, decide
from aiforge.runtime.drivers import Attempt, Drivers, about
from aiforge.runtime.renewal import Renewal
from aiforge.schemas.runs import Event, Run, RunStatus
from aiforge.services import preflight
from aiforge.services.passes import repeat
from aiforge.settings import Settings
from aiforge.state import applied, events, lifecycles, outcomes, runs
from aiforge.state.access import State
from aiforge.state.schema import now
from aiforge.storage import Storage

RECONCILE_SECONDS = 5.0
BREATH_SECONDS = 0.05
"""From one pass to the next at least: each reads the queue, and the state has others to serve."""

CANCEL_SECONDS = 3.0
"""How long work has to stop by itself; a killed driver's workers need another second."""

SILENT = timedelta(seconds=60)
"""A driver whose heartbeat is older hangs, unless the state was away."""

SILENT_SECONDS = 15.0
"""How long a heartbeat must be seen to be too old before its driver is killed."""

TOO_LARGE_SECONDS = 60.0
"""How long a run waits for nodes that could hold it to join the cluster."""

PURGE_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """One pass after another over what waits and what runs.

    Args:
        drivers: The cluster.
        renewal: Ends the process when it has started many drivers; never, where it is absent.
    """

    def __init__(
        self,
        state: State,
        drivers: Drivers,
        settings: Settings,
        renewal: Renewal | None = None,
    ) -> None:
        self._state = state
        self._drivers = drivers
        self._settings = settings
        self._renewal = renewal
        self._storage = Storage(settings.resolved_storage_uri)
        self._started = now()
        self._wake = asyncio.Event()
        self._poll: asyncio.Task[list[Event]] | None = None
        self._seen = 0
        self._watched: dict[Attempt, asyncio.Task[None]] = {}
        self._gone: dict[Attempt, str] = {}
        self._told: dict[Attempt, float] = {}
        self._silent: dict[Attempt, float] = {}
        self._fresh: dict[str, datetime | None] = {}
        self._sweep_due = 0.0
        self._purge_due = time.monotonic() + PURGE_SECONDS

    async def run(self) -> None:
        """Work until the process ends; no error ends it."""
        await repeat(self._pass, "dispatcher", _log)

    async def _pass(self) -> None:
        next_at = time.monotonic() + BREATH_SECONDS
        await self.tick()
        await self._sleep()
        await asyncio.sleep(next_at - time.monotonic())

    async def tick(self) -> None:
        """One pass: look after what runs, then start what may."""
        self._wake.clear()
        if not self._seen:
            self._seen = await self._state.call(events.latest)
        active = await self._state.call(runs.active)
        for run in active:
            with logs.about(**about(run)):
                await self._look_after(run)
        self._forget({(run.id, run.attempt) for run in active})
        await self._keep_house()
        still_waiting = await self._admit()
        await self._renew(still_waiting)

    async def _look_after(self, run: Run) -> None:
        attempt = (run.id, run.attempt)
        if self._fresh.get(run.id) != run.heartbeat_at:
            self._fresh.pop(run.id, None)
        if attempt not in self._watched and attempt not in self._gone:
            await self._watch(run)
        if attempt in self._gone:
            await self._recover(run, self._gone[attempt])
        elif run.status is RunStatus.CANCELLING:
            await self._cancel(run)
        elif self._is_silent(run):
            self._gone[attempt] = "its driver did not answer any more"
            _log.warning("The driver of %s does not answer; it is killed", run.id)
            await self._drivers.kill(run)

    async def _watch(self, run: Run) -> None:
        attempt = (run.id, run.attempt)
        gone = await self._drivers.attach(run)
        if gone is None:
            self._gone[attempt] = "its driver was lost"
            return

        async def wait() -> None:
            await gone
            self._gone.setdefault(attempt, "its driver died")
            self._watched.pop(attempt, None)
            self._wake.set()

        self._watched[attempt] = asyncio.create_task(wait())

    async def _recover(self, run: Run, reason: str) -> None:
        """Begin the next attempt of a run whose driver is gone, unless it ended the run."""
        recovered = await self._state.call(outcomes.recover, run.id, run.attempt, reason)
        if recovered.status is RunStatus.RUNNING and recovered.attempt > run.attempt:
            _log.warning("Attempt %s of %s: %s; the next begins", run.attempt, run.id, reason)
            await self._start(recovered)
        elif recovered.status in lifecycles.RUN.terminal:
            # No attempt follows that would clear it away.
            await asyncio.to_thread(self._storage.clear_work, run.id)

    async def _start(self, run: Run) -> None:
        with logs.about(**about(run)):
            _log.info("Starting attempt %s of %s %s", run.attempt, run.kind, run.id)
        await self._drivers.start(run)
        # Until it has reported, the driver may still depend on the process that makes it.
        self._fresh[run.id] = run.heartbeat_at
        if self._renewal is not None:
            self._renewal.count()
        await self._watch(run)

    async def _cancel(self, run: Run) -> None:
        attempt = (run.id, run.attempt)
        told = self._told.get(attempt)
        if told is None:
            self._told[attempt] = time.monotonic()
            _log.info("Cancelling %s", run.id)
            asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._wake.set)
            await self._drivers.cancel(run)
        elif time.monotonic() - told >= CANCEL_SECONDS:
            # Its callbacks had their time to release what the work occupies elsewhere.
            await self._drivers.kill(run)

    def _is_silent(self, run: Run) -> bool:
        attempt = (run.id, run.attempt)
        if run.heartbeat_at is None or now() - run.heartbeat_at < SILENT:
            self._silent.pop(attempt, None)
            return False
        since = self._silent.setdefault(attempt, time.monotonic())
        return time.monotonic() - since >= SILENT_SECONDS

    def _forget(self, active: set[Attempt]) -> None:
        for notes in (self._gone, self._told, self._silent):
            for attempt in [attempt for attempt in notes if attempt not in active]:
                del notes[attempt]
        ids = {run_id for run_id, _ in active}
        for run_id in [run_id for run_id in self._fresh if run_id not in ids]:
            del self._fresh[run_id]

    async def _keep_house(self) -> None:
        if time.monotonic() >= self._sweep_due:
            self._sweep_due = time.monotonic() + RECONCILE_SECONDS
            active = await self._state.call(runs.active)
            await self._drivers.sweep({(run.id, run.attempt) for run in active})
            logs.rotate(self._settings.home)
            # Ray frees 50 kB, and more on a busy machine, for each actor that has ended.
            give_memory_back()
        if time.monotonic() >= self._purge_due:
            self._purge_due = time.monotonic() + PURGE_SECONDS
            await self._state.call(applied.purge)

    async def _admit(self) -> bool:
        """Start what may start; whether anything has to wait."""
        waiting = await self._state.call(runs.waiting)
        if not waiting:
            return False
        active = await self._state.call(runs.active)
        decisions = decide(waiting, active, await self._drivers.capacity())
        for decision in decisions:
            try:
                with logs.about(**about(decision.run)):
                    await self._apply(decision)
            except Conflict:
                # It was cancelled in the meantime.
                continue
        return any(decision.verdict is not Verdict.START for decision in decisions)

    async def _renew(self, still_waiting: bool) -> None:
        """End the process where that is due and nothing would be cut off or have to wait."""
        renewal = self._renewal
        if renewal is None or not renewal.is_due or self._fresh or self._gone or self._told:
            return
        if still_waiting and not renewal.is_overdue:
            return
        if renewal.close():
            _log.info("The dispatcher's process is renewed after %s drivers", renewal.started)
            await renewal.leave()
            _log.warning("The dispatcher's process was not renewed; it goes on")

    async def _apply(self, decision: Decision) -> None:
        run = decision.run
        match decision.verdict:
            case Verdict.START:
                await self._begin(run)
            case Verdict.TOO_LARGE if self._waited(run) > TOO_LARGE_SECONDS:
                await self._state.call(
                    outcomes.refuse, run.id, decision.reason, "resources_exceeded"
                )
            case _ if run.queued_reason != decision.reason:
                await self._state.call(runs.explain, run.id, decision.reason)

    async def _begin(self, run: Run) -> None:
        try:
            preflight.require_disk(self._settings, self._storage, run.resources.disk_bytes)
        except Unavailable as error:
            await self._state.call(outcomes.refuse, run.id, error.message, error.code)
            return
        await self._start(await self._state.call(runs.start, run.id))

    def _waited(self, run: Run) -> float:
        return (now() - max(run.created_at, self._started)).total_seconds()

    async def _sleep(self) -> None:
        """Until an event comes, a driver is gone, or it is time to look around."""
        if self._poll is None:
            self._poll = asyncio.create_task(self._state.wait_events(self._seen, RECONCILE_SECONDS))
        wake = asyncio.create_task(self._wake.wait())
        await asyncio.wait({self._poll, wake}, return_when=asyncio.FIRST_COMPLETED)
        wake.cancel()
        if self._poll.done():
            poll, self._poll = self._poll, None
            if found := poll.result():
                self._seen = found[-1].sequence
