"""The dispatcher's decisions on a real state, with drivers that a test can hold still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from aiforge.runtime import dispatching as module
from aiforge.runtime import renewal
from aiforge.runtime.dispatching import Dispatcher
from aiforge.runtime.drivers import Attempt
from aiforge.runtime.renewal import Renewal
from aiforge.schemas.common import new_id
from aiforge.schemas.runs import Resources, Run, RunStatus
from aiforge.settings import Settings
from aiforge.state import outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.ops import write
from aiforge.state.schema import now
from aiforge.state.store import Store
from aiforge.storage import Storage


class HeldDrivers:
    """Drivers that do nothing until the test ends them."""

    def __init__(self) -> None:
        self.alive: dict[Attempt, asyncio.Event] = {}
        self.told: list[Attempt] = []
        self.killed: list[Attempt] = []

    async def start(self, run: Run) -> None:
        self.alive[(run.id, run.attempt)] = asyncio.Event()

    async def attach(self, run: Run) -> Awaitable[None] | None:
        gone = self.alive.get((run.id, run.attempt))

        async def wait() -> None:
            assert gone is not None
            await gone.wait()

        return wait() if gone else None

    async def cancel(self, run: Run) -> None:
        self.told.append((run.id, run.attempt))

    async def kill(self, run: Run) -> None:
        self.killed.append((run.id, run.attempt))
        await self.end(run.id, run.attempt)

    async def sweep(self, wanted: Collection[Attempt]) -> None:
        for attempt in set(self.alive) - set(wanted):
            await self.end(*attempt)

    async def capacity(self) -> Resources:
        return Resources(cpus=2, memory_bytes=1 << 40)

    async def end(self, run_id: str, attempt: int) -> None:
        """What a driver's death looks like; the watcher sees it before this returns."""
        self.alive.pop((run_id, attempt)).set()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, disk_reserve_bytes=0)


@pytest.fixture
def state(settings: Settings) -> Iterator[LocalState]:
    store = Store(settings.resolved_database_url)
    yield LocalState(store)
    store.close()


@pytest.fixture
def drivers() -> HeldDrivers:
    return HeldDrivers()


def submit(state: LocalState, **resources: Any) -> str:
    new = sources.NewSource(
        id=new_id("src"), name="s", type="git", include_patterns=[], exclude_patterns=[]
    )
    need = Resources(**({"cpus": 1} | resources))
    return state.call_sync(sources.create, new, need).parsing_job_id


def look(state: LocalState, run_id: str) -> Run:
    return state.call_sync(runs.get, run_id)


Test = Callable[[Dispatcher], Coroutine[Any, Any, None]]


@pytest.fixture
def within(state: LocalState, drivers: HeldDrivers, settings: Settings) -> Callable[[Test], None]:
    """Runs a test in an event loop, with a dispatcher."""

    def run(test: Test) -> None:
        async def main() -> None:
            await test(Dispatcher(state, drivers, settings))

        asyncio.run(main())

    return run


def test_runs_start_in_order_as_there_is_room(
    state: LocalState, drivers: HeldDrivers, within: Callable[[Test], None]
) -> None:
    made = [submit(state) for _ in range(3)]

    async def test(dispatcher: Dispatcher) -> None:
        await dispatcher.tick()
        assert list(drivers.alive) == [(made[0], 1), (made[1], 1)]
        assert look(state, made[2]).queued_reason
        state.call_sync(outcomes.fail, made[0], 1, "no", "no")
        await drivers.end(made[0], 1)
        await dispatcher.tick()
        assert list(drivers.alive) == [(made[1], 1), (made[2], 1)]

    within(test)


def test_a_dead_driver_is_replaced_until_it_is_enough(
    state: LocalState, drivers: HeldDrivers, within: Callable[[Test], None]
) -> None:
    run_id = submit(state)

    async def test(dispatcher: Dispatcher) -> None:
        await dispatcher.tick()
        for attempt in range(1, outcomes.MAX_ATTEMPTS + 1):
            assert list(drivers.alive) == [(run_id, attempt)]
            await drivers.end(run_id, attempt)
            await dispatcher.tick()
        assert look(state, run_id).error_code == "driver_lost"
        assert drivers.alive == {}

    within(test)


def test_a_cancelled_driver_is_told_once_and_killed_later(
    settings: Settings,
    state: LocalState,
    drivers: HeldDrivers,
    within: Callable[[Test], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = submit(state)
    storage = Storage(settings.resolved_storage_uri)
    storage.write_bytes(f"work/aiforge-{run_id}/half-made", b"x")

    async def test(dispatcher: Dispatcher) -> None:
        await dispatcher.tick()
        state.call_sync(outcomes.cancel, run_id)
        await dispatcher.tick()
        await dispatcher.tick()
        assert (drivers.told, drivers.killed) == ([(run_id, 1)], [])
        monkeypatch.setattr(module, "CANCEL_SECONDS", 0.0)
        await dispatcher.tick()
        assert drivers.killed == [(run_id, 1)]
        await dispatcher.tick()
        assert look(state, run_id).status is RunStatus.CANCELLED
        assert storage.names("work") == []

    within(test)


@write
def age(connection: Any, run_id: str, by: timedelta) -> None:
    connection.execute(
        update(runs.runs).where(runs.runs.c.id == run_id).values(heartbeat_at=now() - by)
    )


def test_a_silent_driver_is_replaced_only_after_a_second_look(
    state: LocalState,
    drivers: HeldDrivers,
    within: Callable[[Test], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = submit(state)

    async def test(dispatcher: Dispatcher) -> None:
        await dispatcher.tick()
        state.call_sync(age, run_id, 2 * module.SILENT)
        await dispatcher.tick()
        assert drivers.killed == []
        monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)
        await dispatcher.tick()
        await dispatcher.tick()
        assert drivers.killed == [(run_id, 1)]
        assert list(drivers.alive) == [(run_id, 2)]

    within(test)


def test_what_is_too_large_is_refused_after_a_while(
    state: LocalState,
    drivers: HeldDrivers,
    within: Callable[[Test], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = submit(state, cpus=64)

    async def test(dispatcher: Dispatcher) -> None:
        await dispatcher.tick()
        assert "64 CPUs" in (look(state, run_id).queued_reason or "")
        monkeypatch.setattr(module, "TOO_LARGE_SECONDS", -1.0)
        await dispatcher.tick()
        run = look(state, run_id)
        assert (run.status, run.error_code) == (RunStatus.FAILED, "resources_exceeded")

    within(test)


def test_a_full_disk_refuses_the_run(
    state: LocalState, drivers: HeldDrivers, settings: Settings
) -> None:
    run_id = submit(state)
    full = settings.model_copy(update={"disk_reserve_bytes": 1 << 60})
    asyncio.run(Dispatcher(state, drivers, full).tick())
    run = look(state, run_id)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "disk_full")
    assert "AIFORGE_DISK_RESERVE_BYTES" in (run.error or "")
    assert drivers.alive == {}


def test_drivers_that_nobody_wants_are_ended(
    state: LocalState, drivers: HeldDrivers, within: Callable[[Test], None]
) -> None:
    async def test(dispatcher: Dispatcher) -> None:
        drivers.alive[("run-gone", 1)] = asyncio.Event()
        await dispatcher.tick()
        assert drivers.alive == {}

    within(test)


def test_a_change_ends_the_sleep(
    state: LocalState, drivers: HeldDrivers, within: Callable[[Test], None]
) -> None:
    async def test(dispatcher: Dispatcher) -> None:
        running = asyncio.create_task(dispatcher.run())
        run_id = await asyncio.to_thread(submit, state)
        async with asyncio.timeout(module.RECONCILE_SECONDS):
            while (run_id, 1) not in drivers.alive:
                await asyncio.sleep(0.01)
        running.cancel()

    within(test)


class Ends:
    """A renewal whose process does not end, so that a test can count how often it should have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        monkeypatch.setattr(renewal, "LEAVE_SECONDS", 0.0)
        self.number = 0
        self.renewal = Renewal(self._end, after)

    def _end(self) -> None:
        self.number += 1


async def finish(
    state: LocalState, drivers: HeldDrivers, dispatcher: Dispatcher, run_id: str
) -> None:
    state.call_sync(outcomes.fail, run_id, 1, "no", "no")
    await drivers.end(run_id, 1)
    await dispatcher.tick()


def test_the_process_ends_when_nothing_waits_for_it(
    state: LocalState, drivers: HeldDrivers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [submit(state) for _ in range(3)]
    ends = Ends(monkeypatch, 2)

    async def test() -> None:
        dispatcher = Dispatcher(state, drivers, settings, ends.renewal)
        await dispatcher.tick()
        for run_id in made[:2]:
            state.call_sync(runs.heartbeat, run_id, 1)
        await dispatcher.tick()
        assert ends.number == 0, "a run waits"
        await finish(state, drivers, dispatcher, made[0])
        await dispatcher.tick()
        assert ends.number == 0, "a driver has not reported yet"
        state.call_sync(runs.heartbeat, made[2], 1)
        state.call_sync(outcomes.cancel, made[1])
        await dispatcher.tick()
        assert ends.number == 0, "a driver was told to stop"
        state.call_sync(outcomes.cancelled, made[1], 1)
        await drivers.end(made[1], 1)
        async with ends.renewal.work():
            await dispatcher.tick()
            assert ends.number == 0, "another thread is at work"
        await dispatcher.tick()
        assert ends.number == 1
        assert list(drivers.alive) == [(made[2], 1)]

    asyncio.run(test())


def test_the_process_ends_in_the_end_although_runs_wait(
    state: LocalState, drivers: HeldDrivers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [submit(state) for _ in range(5)]
    ends = Ends(monkeypatch, 1)

    async def test() -> None:
        dispatcher = Dispatcher(state, drivers, settings, ends.renewal)
        async with ends.renewal.work():
            await dispatcher.tick()
            for run_id in made[:2]:
                state.call_sync(runs.heartbeat, run_id, 1)
            await dispatcher.tick()
        assert ends.number == 1
        # It lives on, as where Ray's control service is away, and so does its work.
        async with asyncio.timeout(5), ends.renewal.work():
            await finish(state, drivers, dispatcher, made[0])
        assert (made[2], 1) in drivers.alive

    asyncio.run(test())


def test_however_fast_events_come_passes_are_apart(
    within: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(dispatcher: Dispatcher) -> None:
        loop = asyncio.get_running_loop()
        passes: list[float] = []
        enough = asyncio.Event()

        async def counted() -> None:
            passes.append(loop.time())
            if len(passes) == 6:
                enough.set()

        async def at_once() -> None:
            """There is an event already."""

        monkeypatch.setattr(dispatcher, "tick", counted)
        monkeypatch.setattr(dispatcher, "_sleep", at_once)
        running = asyncio.create_task(dispatcher.run())
        await asyncio.wait_for(enough.wait(), 30)
        running.cancel()
        assert min(b - a for a, b in pairwise(passes)) > 0.99 * module.BREATH_SECONDS

    within(test)
