"""No sequence of requests, retries and crashes leaves the declared graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from samples import DEPLOYED, EXPORTED, GENERATED, NONE, SYNCED, TRAINED, fine_tune, new_source
from sqlalchemy import select

from aiforge.errors import Conflict, InvalidInput, NotFound
from aiforge.schemas.datasets import DatasetStatus, GenerateRequest
from aiforge.schemas.exports import ExportRequest, ExportStatus
from aiforge.schemas.models import ModelStatus
from aiforge.schemas.runs import Event, Run, RunKind, RunStatus
from aiforge.schemas.sources import SourceStatus
from aiforge.state import (
    datasets,
    deployments,
    events,
    exports,
    jobs,
    lifecycles,
    models,
    outcomes,
    removals,
    runs,
    sources,
)
from aiforge.state.access import LocalState, State
from aiforge.state.counts import run_counts
from aiforge.state.ops import read
from aiforge.state.store import RequestKey, Store

REFUSED = (Conflict, InvalidInput, NotFound)
RESULTS = {
    RunKind.SYNC: SYNCED,
    RunKind.GENERATE: GENERATED,
    RunKind.TRAIN: TRAINED,
    RunKind.EXPORT: EXPORTED,
    RunKind.DEPLOY: DEPLOYED,
}
attempts = st.sampled_from([-1, 0, 0, 0, 1])
picks = st.integers(min_value=0, max_value=1000)


@pytest.mark.parametrize(
    "lifecycle",
    [lifecycles.RUN, lifecycles.DATASET, lifecycles.SOURCE, lifecycles.MODEL, lifecycles.EXPORT],
)
def test_every_status_is_declared_and_reachable(lifecycle: lifecycles.Lifecycle[Any]) -> None:
    assert set(lifecycle.steps) == set(type(lifecycle.initial))
    reached, new = set(), {lifecycle.initial}
    while new:
        reached |= new
        new = {status for old in new for status in lifecycle.steps[old]} - reached
    assert reached == set(lifecycle.steps)


@dataclass
class Everything:
    """What the tables hold, as one transaction sees it."""

    runs: list[Run]
    sources: dict[str, SourceStatus]
    datasets: dict[str, DatasetStatus]
    models: dict[str, ModelStatus]
    exports: dict[str, ExportStatus]
    events: list[Event]
    counts: dict[Any, int]


@read
def look(connection: Any, seen: int) -> Everything:
    rows = connection.execute(select(runs.runs).order_by(runs.runs.c.id))
    kept = connection.execute(select(run_counts).where(run_counts.c.number != 0))
    built = connection.execute(select(datasets.datasets.c["id", "status"]))
    found = connection.execute(select(sources.sources.c["id", "status"]))
    alive = models.models.c.deleted_at.is_(None)
    trained = connection.execute(select(models.models.c["id", "status"]).where(alive))
    made = connection.execute(select(exports.exports.c["id", "status"]))
    return Everything(
        runs=[Run.model_validate(dict(row._mapping)) for row in rows],
        sources={row.id: SourceStatus(row.status) for row in found},
        datasets={row.id: DatasetStatus(row.status) for row in built},
        models={row.id: ModelStatus(row.status) for row in trained},
        exports={row.id: ExportStatus(row.status) for row in made},
        events=events.after(connection, seen),
        counts={(row.kind, row.status): row.number for row in kept},
    )


class AnySequence(RuleBasedStateMachine):
    """Requests, drivers that come too late, and recoveries, in any order."""

    new_database: Callable[[], str]

    @initialize()
    def begin(self) -> None:
        self.url = self.new_database()
        self.store = Store(self.url)
        self.state = LocalState(self.store)
        self.seen = 0
        self.status: dict[str, str] = {}
        self.now = self.state.call_sync(look, 0)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def attempt(self, op: Callable[..., Any], *arguments: Any) -> Any:
        return self.attempt_on(self.state, op, *arguments)

    def attempt_on(self, state: State, op: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return state.call_sync(op, *arguments)
        except REFUSED as refused:
            return refused

    def pick(self, number: int) -> Run | None:
        found = self.now.runs
        return found[number % len(found)] if found else None

    @rule()
    def create_source(self) -> None:
        self.attempt(sources.create, new_source(), NONE)

    @rule(number=picks)
    def sync_again(self, number: int) -> None:
        found = list(self.now.sources)
        if found:
            self.attempt(sources.sync, found[number % len(found)], NONE)

    @rule(number=picks)
    def generate(self, number: int) -> None:
        found = list(self.now.sources)
        if found:
            request = GenerateRequest(name="d", source_ids=[found[number % len(found)]])
            self.attempt(datasets.create, request, NONE)

    @rule(number=picks)
    def train(self, number: int) -> None:
        found = list(self.now.datasets)
        if found:
            self.attempt(jobs.create, fine_tune(found[number % len(found)]), NONE)

    @rule(number=picks, again=picks)
    def export(self, number: int, again: int) -> None:
        trained = [run.id for run in self.now.runs if run.kind is RunKind.TRAIN]
        if trained:
            request = ExportRequest(quantization="q8_0" if again % 2 else "q4_k_m")
            self.attempt(exports.create, trained[number % len(trained)], request, NONE)

    @rule(number=picks)
    def delete(self, number: int) -> None:
        found, built = list(self.now.sources), list(self.now.datasets)
        if found and number % 2:
            self.attempt(removals.delete_source, found[number % len(found)])
        elif built:
            self.attempt(removals.delete_dataset, built[number % len(built)])

    def pick_model(self, number: int) -> str:
        found = list(self.now.models) or ["model-none"]
        return found[number % len(found)]

    @rule(number=picks, action=st.sampled_from(["deploy", "activate", "rollback"]))
    def serve(self, number: int, action: str) -> None:
        op = getattr(deployments, action)
        self.attempt(op, self.pick_model(number), "me", None, NONE)

    @rule(number=picks)
    def delete_model(self, number: int) -> None:
        self.attempt(models.delete, self.pick_model(number), "me", None)

    @rule(number=picks)
    def start(self, number: int) -> None:
        if run := self.pick(number):
            self.attempt(runs.start, run.id)

    @rule(number=picks, off=attempts)
    def complete(self, number: int, off: int) -> None:
        if run := self.pick(number):
            self.attempt(outcomes.complete, run.id, run.attempt + off, RESULTS[run.kind])

    @rule(number=picks, off=attempts)
    def fail(self, number: int, off: int) -> None:
        if run := self.pick(number):
            self.attempt(outcomes.fail, run.id, run.attempt + off, "no", "no")

    @rule(number=picks, off=attempts)
    def confirm_cancelled(self, number: int, off: int) -> None:
        if run := self.pick(number):
            self.attempt(outcomes.cancelled, run.id, run.attempt + off)

    @rule(number=picks, off=attempts)
    def recover(self, number: int, off: int) -> None:
        if run := self.pick(number):
            self.attempt(outcomes.recover, run.id, run.attempt + off, "it died")

    @rule(number=picks, off=attempts)
    def report(self, number: int, off: int) -> None:
        if run := self.pick(number):
            self.attempt(runs.record, run.id, run.attempt + off, runs.Report(progress=50))

    @rule(number=picks)
    def cancel(self, number: int) -> None:
        if run := self.pick(number):
            self.attempt(outcomes.cancel, run.id)

    @rule()
    def restart(self) -> None:
        """The process that holds the state dies, and another one takes its place."""
        self.store.close()
        self.store = Store(self.url)
        self.state = LocalState(self.store)

    @rule(number=picks)
    def repeat(self, number: int) -> None:
        """A request that is repeated after a crash, with the key that it had."""
        if run := self.pick(number):
            once = self.state.once(RequestKey(f"cancel-{run.id}"))
            first = self.attempt_on(once, outcomes.cancel, run.id)
            again = self.attempt_on(once, outcomes.cancel, run.id)
            assert again == first or isinstance(first, REFUSED)

    @rule(number=picks)
    def refuse(self, number: int) -> None:
        if run := self.pick(number):
            self.attempt(outcomes.refuse, run.id, "too large", "no")

    @invariant()
    def all_is_well(self) -> None:
        if not hasattr(self, "state"):
            return
        self.now = self.state.call_sync(look, self.seen)
        self.follow_events()
        # What the events add up to is what the tables hold: no change went without one.
        rows: dict[str, str] = {run.id: run.status for run in self.now.runs}
        rows |= self.now.sources | self.now.datasets | self.now.models | self.now.exports
        assert rows == self.status
        assert self.now.counts == Counter((run.kind, run.status) for run in self.now.runs)
        self.resources_follow_their_runs()

    def follow_events(self) -> None:
        """Every step that was taken is one that is declared."""
        for event in self.now.events:
            self.seen = event.sequence
            noun, _, status = event.type.partition(".")
            if status == "deleted":
                del self.status[event.resource_id]
            elif status not in ("restarted", "rolled_back", "deployed"):
                self.step(noun, event.resource_id, status)

    def step(self, noun: str, resource_id: str, status: str) -> None:
        lifecycle: lifecycles.Lifecycle[Any] = {
            "source": lifecycles.SOURCE,
            "dataset": lifecycles.DATASET,
            "model": lifecycles.MODEL,
            "export": lifecycles.EXPORT,
        }.get(noun, lifecycles.RUN)
        kind = type(lifecycle.initial)
        if resource_id in self.status:
            assert lifecycle.allows(kind(self.status[resource_id]), kind(status))
        else:
            assert status == lifecycle.initial
        self.status[resource_id] = status

    def resources_follow_their_runs(self) -> None:
        busy = {run.resource_id for run in self.now.runs if run.status in lifecycles.RUN.open}
        for source_id, source in self.now.sources.items():
            assert (source is SourceStatus.SYNCING) == (source_id in busy)
        for dataset_id, dataset in self.now.datasets.items():
            assert (dataset is DatasetStatus.GENERATING) == (dataset_id in busy)
        for export_id, export in self.now.exports.items():
            assert (export is ExportStatus.RUNNING) == (export_id in busy)
        for model_id, model in self.now.models.items():
            assert model is not ModelStatus.DEPLOYING or model_id in busy
        # The machine trains for one project only.
        assert list(self.now.models.values()).count(ModelStatus.ACTIVE) <= 1


def test_no_sequence_leaves_the_graphs(new_sqlite: Callable[[], str]) -> None:
    class Machine(AnySequence):
        new_database = staticmethod(new_sqlite)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_a_step_that_is_not_declared_is_refused(state: LocalState) -> None:
    created = state.call_sync(sources.create, new_source(), NONE)
    run_id = created.parsing_job_id
    state.call_sync(outcomes.cancel, run_id)
    before = state.call_sync(events.latest)
    with pytest.raises(Conflict) as refused:
        state.call_sync(runs.start, run_id)
    assert refused.value.code == "run_is_cancelled"
    assert state.call_sync(runs.get, run_id).status is RunStatus.CANCELLED
    assert state.call_sync(events.latest) == before
