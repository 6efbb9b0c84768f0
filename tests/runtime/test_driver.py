"""A driver's work in this very process, on a real state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiforge.errors import Cancelled, Failure, Unavailable
from aiforge.runtime.drivers import Driver
from aiforge.schemas.common import new_id
from aiforge.schemas.runs import MetricPoint, Resources, Run, RunStatus
from aiforge.services.context import RunContext
from aiforge.services.work import Work
from aiforge.settings import Settings
from aiforge.state import artifacts, logs, metrics, outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.store import Store

OUTCOME = {
    "revision": "abc",
    "file_count": 1,
    "skipped_count": 0,
    "total_bytes": 1,
    "snapshot": "sources/s/snapshots/abc",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def state(settings: Settings) -> Iterator[LocalState]:
    store = Store(settings.resolved_database_url)
    yield LocalState(store)
    store.close()


@pytest.fixture
def run_id(state: LocalState) -> str:
    new = sources.NewSource(
        id=new_id("src"), name="s", type="git", include_patterns=[], exclude_patterns=[]
    )
    created = state.call_sync(sources.create, new, Resources())
    return state.call_sync(runs.start, created.parsing_job_id).id


Drive = Callable[[Work], Driver]


@pytest.fixture
def drive(state: LocalState, settings: Settings, run_id: str) -> Drive:
    def start(work: Work) -> Driver:
        return Driver(settings, run_id, 1, lambda kind: work, state)

    return start


def look(state: LocalState, run_id: str) -> Run:
    return state.call_sync(runs.get, run_id)


def test_everything_reported_is_there_when_the_run_has_ended(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    def work(context: RunContext) -> dict[str, Any]:
        context.log("hello")
        context.metrics([MetricPoint(step=1, loss=2.0, learning_rate=0.1, grad_norm=1.0)])
        context.progress(0.25, "reading", total_steps=9)
        context.reporter().log("from a worker", "warning")
        return OUTCOME

    assert drive(work).join(10)
    run = look(state, run_id)
    assert (run.status, run.stage, run.progress) == (RunStatus.COMPLETED, "reading", 100.0)
    assert run.result["fileCount"] == 1
    lines = {(line.level, line.message) for line in state.call_sync(logs.tail, run_id, 10)}
    assert lines == {("info", "hello"), ("warning", "from a worker")}
    assert state.call_sync(metrics.history, run_id).steps == [1]


def test_a_failure_keeps_its_words(state: LocalState, drive: Drive, run_id: str) -> None:
    def work(context: RunContext) -> dict[str, Any]:
        raise Failure("Nothing to read; widen the patterns.", code="source_empty")

    assert drive(work).join(10)
    run = look(state, run_id)
    assert (run.status, run.error, run.error_code) == (
        RunStatus.FAILED,
        "Nothing to read; widen the patterns.",
        "source_empty",
    )


@pytest.mark.parametrize("error", [ValueError("inner"), Cancelled("nobody asked")])
def test_an_unforeseen_error_is_ours(
    state: LocalState, drive: Drive, run_id: str, error: Exception
) -> None:
    def work(context: RunContext) -> dict[str, Any]:
        raise error

    assert drive(work).join(10)
    run = look(state, run_id)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "internal_error")
    assert str(error) not in (run.error or "")
    assert any(str(error) in line.message for line in state.call_sync(logs.tail, run_id, 10))


def test_cancellation_reaches_callbacks_and_checks(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    at_work, aborted = threading.Event(), threading.Event()

    def work(context: RunContext) -> dict[str, Any]:
        def broken() -> None:
            raise ValueError("a callback that fails")

        context.on_cancel(broken)
        context.on_cancel(aborted.set)
        at_work.set()
        aborted.wait(10)
        context.check_cancelled()
        return OUTCOME

    driver = drive(work)
    assert at_work.wait(10)
    state.call_sync(outcomes.cancel, run_id)
    driver.cancel()
    assert driver.join(10)
    assert aborted.is_set()
    assert look(state, run_id).status is RunStatus.CANCELLED


def test_cancellation_arrives_with_the_heartbeat_too(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    cancelled = threading.Event()

    def work(context: RunContext) -> dict[str, Any]:
        context.on_cancel(cancelled.set)
        state.call_sync(outcomes.cancel, run_id)
        context.log("something to report")
        assert cancelled.wait(10)
        return OUTCOME

    assert drive(work).join(10)
    assert look(state, run_id).status is RunStatus.CANCELLED


def test_a_run_cancelled_before_its_driver_came_does_no_work(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    worked = threading.Event()

    def work(context: RunContext) -> dict[str, Any]:
        worked.set()
        return OUTCOME

    state.call_sync(outcomes.cancel, run_id)
    assert drive(work).join(10)
    assert look(state, run_id).status is RunStatus.CANCELLED
    assert not worked.is_set()


def test_a_callback_that_comes_late_runs_at_once(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    called = threading.Event()

    def work(context: RunContext) -> dict[str, Any]:
        context.cancel()
        context.on_cancel(called.set)
        return OUTCOME

    assert drive(work).join(10)
    assert called.is_set()


def test_an_overtaken_attempt_stops_and_writes_nothing(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    stopped = threading.Event()

    def work(context: RunContext) -> dict[str, Any]:
        context.on_cancel(stopped.set)
        state.call_sync(outcomes.recover, run_id, 1, "it seemed dead")
        context.log("too late")
        assert stopped.wait(10)
        return OUTCOME

    assert drive(work).join(10)
    run = look(state, run_id)
    assert (run.status, run.attempt) == (RunStatus.RUNNING, 2)
    assert not any("too late" in line.message for line in state.call_sync(logs.tail, run_id, 10))


class Interrupted(LocalState):
    """A state that is away for a while; what it refuses has not happened."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.refusals = 0

    def call_sync(self, op: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("away", code="state_unavailable")
        return super().call_sync(op, *args, **kwargs)


def test_an_outage_of_the_state_loses_nothing(
    state: LocalState, settings: Settings, run_id: str
) -> None:
    flaky = Interrupted(state.store)

    def work(context: RunContext) -> dict[str, Any]:
        flaky.refusals = 3
        for number in range(5):
            context.log(f"line {number}")
        context.progress(0.5, "half way", total_steps=4)
        return OUTCOME

    assert Driver(settings, run_id, 1, lambda kind: work, flaky).join(20)
    run = look(state, run_id)
    assert run.status is RunStatus.COMPLETED
    assert run.stage == "half way"
    messages = [line.message for line in state.call_sync(logs.tail, run_id, 10)]
    assert messages == [f"line {number}" for number in range(5)]


def test_a_result_that_is_no_outcome_fails_the_run(
    state: LocalState, drive: Drive, run_id: str
) -> None:
    assert drive(lambda context: {"nothing": "of use"}).join(10)
    assert look(state, run_id).error_code == "internal_error"


def test_work_leaves_artifacts_once(state: LocalState, drive: Drive, run_id: str) -> None:
    def work(context: RunContext) -> dict[str, Any]:
        for text in (b"draft", b"final"):
            context.artifact("report", "Findings", text, "text/markdown", resource_ids=["ds-1"])
        return OUTCOME

    assert drive(work).join(20)

    resource_id = look(state, run_id).resource_id
    (left,) = state.call_sync(artifacts.page, 10, 0, resource_id).items
    assert (left.owner_id, left.name, left.size) == (run_id, "Findings", 5)
    assert left.resource_ids == [run_id, resource_id, "ds-1"]
