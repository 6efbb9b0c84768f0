"""Which runs may start, and what the others are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiforge.runtime.admission import GIB, Decision, Verdict, decide
from aiforge.schemas.runs import Resources, Run, RunKind, RunStatus
from aiforge.state.schema import now

CAPACITY = Resources(cpus=4, gpus=2, memory_bytes=16 * GIB)


def run(name: str, cpus: float = 0, gpus: float = 0, gib: float = 0) -> Run:
    need = Resources(cpus=cpus, gpus=gpus, memory_bytes=int(gib * GIB))
    return Run(
        id=name,
        kind=RunKind.TRAIN,
        resource_id=name,
        status=RunStatus.QUEUED,
        resources=need,
        created_at=now(),
    )


def verdicts(decisions: list[Decision]) -> dict[str, Verdict]:
    return {decision.run.id: decision.verdict for decision in decisions}


def test_runs_that_fit_start_side_by_side() -> None:
    found = decide([run("a", 2), run("b", 2), run("c", 1)], [], CAPACITY)
    assert verdicts(found) == {"a": Verdict.START, "b": Verdict.START, "c": Verdict.WAIT}
    assert found[2].reason == "Waits for 1 CPUs (0 of 4 free); in use by a, b."


def test_a_later_run_never_delays_the_first_that_waits() -> None:
    active = [run("busy", 2)]
    waiting = [run("large", 4), run("small", 2), run("light", 0, gib=1)]
    found = decide(waiting, active, CAPACITY)
    assert verdicts(found) == {
        "large": Verdict.WAIT,
        "small": Verdict.WAIT,
        "light": Verdict.START,
    }
    assert found[1].reason == "Waits for large, which was there first."


def test_more_than_the_cluster_has_is_refused_but_for_memory() -> None:
    waiting = [run("cpus", 5), run("gpus", 1, gpus=3), run("memory", 1, gib=64), run("next", 1)]
    found = decide(waiting, [], CAPACITY)
    assert verdicts(found) == {
        "cpus": Verdict.TOO_LARGE,
        "gpus": Verdict.TOO_LARGE,
        "memory": Verdict.START,
        "next": Verdict.START,
    }
    assert "fewer workers" in found[0].reason
    beside = decide([run("memory", 1, gib=64)], [run("busy", 1, gib=1)], CAPACITY)
    assert verdicts(beside) == {"memory": Verdict.WAIT}
    assert "GiB of memory" in beside[0].reason


def test_a_cluster_without_gpus_still_trains_on_cpus() -> None:
    found = decide([run("a", 2)], [], Resources(cpus=2, memory_bytes=GIB))
    assert verdicts(found) == {"a": Verdict.START}


needs = st.builds(
    Resources,
    cpus=st.integers(0, 5).map(float),
    gpus=st.integers(0, 3).map(float),
    memory_bytes=st.integers(0, 20).map(lambda gib: gib * GIB),
)


@given(waiting=st.lists(needs, max_size=8))
def test_never_more_is_promised_than_there_is(waiting: list[Resources]) -> None:
    runs = [
        run(str(index)).model_copy(update={"resources": need}) for index, need in enumerate(waiting)
    ]
    found = decide(runs, [], CAPACITY)
    started = [one.run.resources for one in found if one.verdict is Verdict.START]
    assert sum(need.cpus for need in started) <= CAPACITY.cpus
    assert sum(need.gpus for need in started) <= CAPACITY.gpus
    memory = sum(min(need.memory_bytes, CAPACITY.memory_bytes) for need in started)
    assert memory <= CAPACITY.memory_bytes
    assert all(one.reason for one in found if one.verdict is not Verdict.START)
    possible = [one for one in found if one.verdict is not Verdict.TOO_LARGE]
    assert not possible or possible[0].verdict is Verdict.START
