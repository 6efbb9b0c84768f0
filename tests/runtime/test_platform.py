"""State, dispatcher and drivers on a real cluster, with real kills."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.cluster

sys.path.insert(0, str(Path(__file__).parent))

import works  # noqa: E402

from aiforge import logs as lines_of_processes  # noqa: E402
from aiforge.errors import Conflict, NotFound, Unavailable  # noqa: E402
from aiforge.schemas.common import new_id  # noqa: E402
from aiforge.schemas.runs import Resources, Run, RunStatus  # noqa: E402
from aiforge.schemas.sources import Source, SourceStatus  # noqa: E402
from aiforge.settings import Settings  # noqa: E402
from aiforge.state import events, logs, metrics, outcomes, runs, sources  # noqa: E402
from aiforge.state.lifecycles import RUN  # noqa: E402

LIGHT = Resources(cpus=0)


class Platform:
    """What the tests do with the platform."""

    def __init__(self, settings: Settings, renew_after: int = 50) -> None:
        from aiforge.runtime import dispatcher
        from aiforge.state import actor

        self.settings = settings
        self.state = actor.start(settings)
        dispatcher.start(settings, works.work_of, renew_after)

    def submit(self, work: str, resources: Resources = LIGHT) -> str:
        new = sources.NewSource(
            id=new_id("src"), name=work, type="git", include_patterns=[], exclude_patterns=[]
        )
        return self.state.call_sync(sources.create, new, resources).parsing_job_id

    def until(self, run_id: str, happened: Callable[[Run], Any], timeout: float = 60) -> Run:
        """Wait for the run to be as wanted, woken by its changes."""

        async def wait() -> Run:
            async with asyncio.timeout(timeout):
                while True:
                    seen = await self.state.call(events.latest)
                    run = await self.state.call(runs.get, run_id)
                    if happened(run):
                        return run
                    await self.state.wait_events(seen, 0.2, resource_id=run_id)

        return asyncio.run(wait())

    def ended(self, run_id: str) -> Run:
        return self.until(run_id, lambda run: run.status in RUN.terminal)

    def at_work(self, run_id: str, attempt: int = 1) -> int:
        """Wait until an attempt is at work; its process id."""
        mark = f"attempt {attempt}, process "
        self.until(run_id, lambda run: any(mark in entry for entry in self.log(run_id)))
        return next(int(e.split(mark)[1]) for e in self.log(run_id) if mark in e)

    def log(self, run_id: str) -> list[str]:
        return [entry.message for entry in self.state.call_sync(logs.tail, run_id, 1000)]

    def source(self, run_id: str) -> Source:
        run = self.state.call_sync(runs.get, run_id)
        return self.state.call_sync(sources.get, run.resource_id)

    def release(self, run_id: str) -> None:
        (self.settings.home / f"{run_id}.release").touch()

    def drivers(self) -> list[str]:
        from ray.util import list_named_actors

        return [
            actor["name"]
            for actor in list_named_actors(all_namespaces=True)
            if actor["namespace"] == self.settings.namespace and actor["name"].startswith("run:")
        ]

    def kill(self, name: str) -> None:
        """SIGKILL the process of an actor, as a crash does."""
        os.kill(self.process(name), signal.SIGKILL)

    def process(self, name: str) -> int:
        """The process id of an actor."""
        import ray
        from ray._private.state import actors

        handle = ray.get_actor(name, namespace=self.settings.namespace)
        return int(actors(handle._actor_id.hex())["Pid"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("platform"),
        namespace=f"t{uuid.uuid4().hex[:8]}",
        disk_reserve_bytes=0,
    )


@contextlib.contextmanager
def running(settings: Settings, renew_after: int = 50) -> Iterator[Platform]:
    import ray
    from ray import cloudpickle

    # Workers cannot import a test's module.
    cloudpickle.register_pickle_by_value(works)
    yield Platform(settings, renew_after)
    for name in ("dispatcher", "state"):
        ray.kill(ray.get_actor(name, namespace=settings.namespace))


@pytest.fixture(scope="module")
def platform(ray_cluster: None, settings: Settings) -> Iterator[Platform]:
    with running(settings) as platform:
        yield platform


def test_work_is_done_and_its_driver_leaves(platform: Platform) -> None:
    run_id = platform.submit("brief")
    run = platform.ended(run_id)
    assert (run.status, run.attempt, run.progress) == (RunStatus.COMPLETED, 1, 100.0)
    assert platform.source(run_id).status is SourceStatus.SYNCED
    assert platform.state.call_sync(metrics.history, run_id).losses == [2.0]
    deadline = time.monotonic() + 20
    while platform.drivers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert platform.drivers() == []


def test_errors_say_what_happened_without_internals(platform: Platform) -> None:
    refusing, in_a_task, broken, shapeless = (
        platform.submit(work) for work in ("refusing", "refusing_in_a_task", "broken", "shapeless")
    )
    for refused in (refusing, in_a_task):
        run = platform.ended(refused)
        assert (run.status, run.error_code) == (RunStatus.FAILED, "source_empty")
        assert platform.source(refused).error == "The repository is empty; choose another one."
    run = platform.ended(broken)
    assert run.error_code == "internal_error"
    assert "secret" not in (run.error or "")
    assert any("ZeroDivisionError: secret internals" in entry for entry in platform.log(broken))
    assert platform.ended(shapeless).error_code == "internal_error"


def test_a_driver_that_dies_is_replaced(platform: Platform) -> None:
    once, always = platform.submit("dying_once"), platform.submit("dying")
    run = platform.ended(once)
    assert (run.status, run.attempt) == (RunStatus.COMPLETED, 2)
    run = platform.ended(always)
    assert (run.status, run.attempt) == (RunStatus.FAILED, outcomes.MAX_ATTEMPTS)
    assert run.error_code == "driver_lost"


def test_running_work_is_cancelled_within_five_seconds(platform: Platform) -> None:
    """Work that looks whether it should stop, that waits for a callback, and that does neither."""
    made = [platform.submit(work) for work in ("patient", "blocking", "stubborn")]
    processes = [psutil.Process(platform.at_work(run_id)) for run_id in made]
    asked = time.monotonic()
    for run_id in made:
        assert platform.state.call_sync(outcomes.cancel, run_id).status is RunStatus.CANCELLING
    for run_id in made:
        assert platform.ended(run_id).status is RunStatus.CANCELLED
        assert platform.source(run_id).error_code == "cancelled"
    assert time.monotonic() - asked < 5
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def test_what_does_not_fit_waits_and_says_why(platform: Platform) -> None:
    first = platform.submit("patient", Resources(cpus=3))
    platform.at_work(first)
    second = platform.submit("brief", Resources(cpus=3))
    waiting = platform.until(second, lambda run: run.queued_reason)
    assert waiting.status is RunStatus.QUEUED
    assert "3 CPUs" in (waiting.queued_reason or "")
    assert first in (waiting.queued_reason or "")
    # A run that waits is cancelled at once, and what needs no CPU goes ahead.
    assert platform.ended(platform.submit("brief")).status is RunStatus.COMPLETED
    third = platform.submit("brief", Resources(cpus=3))
    assert platform.state.call_sync(outcomes.cancel, third).status is RunStatus.CANCELLED
    platform.release(first)
    assert platform.ended(first).status is RunStatus.COMPLETED
    assert platform.ended(second).status is RunStatus.COMPLETED


def test_the_dispatcher_may_die(platform: Platform) -> None:
    running, orphaned = platform.submit("patient"), platform.submit("patient")
    process, victim = platform.at_work(running), platform.at_work(orphaned)
    platform.kill("dispatcher")
    os.kill(victim, signal.SIGKILL)
    waiting, taken = platform.submit("brief"), platform.submit("brief")
    # As if it had died after it took a run from the queue, before it made the driver; where the
    # new dispatcher is faster, there is nothing to recover.
    with contextlib.suppress(Conflict):
        platform.state.call_sync(runs.start, taken)
    for run_id in (running, orphaned):
        platform.release(run_id)
    assert platform.ended(waiting).status is RunStatus.COMPLETED
    assert platform.ended(taken).status is RunStatus.COMPLETED
    replaced = platform.ended(orphaned)
    assert (replaced.status, replaced.attempt) == (RunStatus.COMPLETED, 2)
    # The driver that was at work was found again, and not replaced.
    kept = platform.ended(running)
    assert (kept.status, kept.attempt) == (RunStatus.COMPLETED, 1)
    assert platform.log(running)[0].endswith(f"process {process}")


def test_killing_the_state_loses_nothing_acknowledged(platform: Platform) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            new = sources.NewSource(
                id=new_id("src"), name="x", type="git", include_patterns=[], exclude_patterns=[]
            )
            created = platform.state.call_sync(sources.create, new, Resources(cpus=1000))
            acknowledged.append(created.source_id)

    def grown(by: int) -> None:
        goal = len(acknowledged) + by
        while len(acknowledged) < goal and writer.is_alive():
            time.sleep(random.uniform(0.001, 0.02))

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(5):
        grown(5)
        platform.kill("state")
        grown(1)
    stop.set()
    writer.join()
    page = platform.state.call_sync(sources.page, 500, 0)
    stored = {source.id for source in page.items if source.name == "x"}
    assert len(acknowledged) >= 25
    # Each write happened once: a repetition would have hit the primary key and failed.
    assert set(acknowledged) == stored
    for run in platform.state.call_sync(runs.waiting, 1000):
        platform.state.call_sync(outcomes.cancel, run.id)


def test_a_restart_takes_up_changed_settings(platform: Platform) -> None:
    from aiforge.runtime import dispatcher
    from aiforge.runtime.platform import renew
    from aiforge.state import actor, ray_settings

    running = platform.submit("patient")
    process = platform.at_work(running)
    before = platform.submit("telling")
    assert platform.ended(before).status is RunStatus.COMPLETED
    changed = platform.settings.model_copy(update={"sync_seconds": 4321.0, "log_level": "warning"})

    ray_settings.publish(changed)
    for name in (actor.NAME, dispatcher.NAME):
        renew(name, changed)
    after = platform.submit("telling")

    assert platform.ended(after).status is RunStatus.COMPLETED
    assert "syncs every None s" in platform.log(before)
    assert "syncs every 4321.0 s" in platform.log(after)
    platform.release(running)
    kept = platform.ended(running)
    assert (kept.status, kept.attempt) == (RunStatus.COMPLETED, 1)
    assert platform.log(running)[0].endswith(f"process {process}")


def test_a_driver_outlives_the_state(platform: Platform) -> None:
    run_id = platform.submit("patient")
    platform.at_work(run_id)
    platform.kill("state")
    platform.release(run_id)
    run = platform.ended(run_id)
    assert (run.status, run.attempt) == (RunStatus.COMPLETED, 1)


def test_errors_arrive_as_what_they_are(platform: Platform) -> None:
    with pytest.raises(NotFound) as unknown:
        platform.state.call_sync(runs.get, "run-none")
    assert type(unknown.value) is NotFound
    assert unknown.value.code == "run_not_found"


def test_without_the_actor_the_state_is_unavailable(platform: Platform) -> None:
    from aiforge.state.actor import RayState

    nowhere = RayState("no-such-namespace", timeout=1)
    with pytest.raises(Unavailable) as away:
        nowhere.call_sync(events.latest)
    assert away.value.code == "state_unavailable"
    with pytest.raises(Unavailable):
        asyncio.run(nowhere.call(events.latest))
    nowhere.send(runs.explain, "run-none", "x")


def test_the_dispatcher_renews_its_process_and_no_run_notices(
    ray_cluster: None, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, namespace=f"t{uuid.uuid4().hex[:8]}", disk_reserve_bytes=0)
    (tmp_path / "storage").mkdir()
    with running(settings, renew_after=1) as platform:
        lasting = platform.submit("patient")
        process = platform.at_work(lasting)
        dispatchers = [platform.process("dispatcher")]
        brief = []
        for _ in range(2):
            while platform.process("dispatcher") == dispatchers[-1]:
                brief.append(platform.submit("brief"))
                platform.ended(brief[-1])
            dispatchers.append(platform.process("dispatcher"))
        brief.append(platform.submit("brief"))
        ended = [platform.ended(run_id) for run_id in brief]
        platform.release(lasting)
        ended.append(platform.ended(lasting))
        assert {(run.status, run.attempt) for run in ended} == {(RunStatus.COMPLETED, 1)}
        # Each was begun by one process, once.
        for run in ended:
            assert sum("attempt 1, process" in entry for entry in platform.log(run.id)) == 1
        assert platform.log(lasting)[0].endswith(f"process {process}")
    lines = [json.loads(line) for line in (tmp_path / lines_of_processes.FILE).open()]
    told = [line for line in lines if line["component"] == "dispatcher"]
    assert sum("is renewed" in line["message"] for line in told) >= 2
    assert {line["level"] for line in told} == {"info"}
