"""HumanEval: canonical solutions pass, stubs do not, and the estimator is unbiased."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.errors import InvalidInput, Unavailable
from aiforge.evaluation import humaneval
from aiforge.evaluation.humaneval import Problem, load_problems, run_all
from aiforge.evaluation.sandbox import Limits, Sandbox
from aiforge.evaluation.sandbox_probe import open_sandbox
from aiforge.evaluation.statistics import mean_interval, pass_at_k

OWN = Path(__file__).parent / "problems.jsonl"


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return open_sandbox()
    except Unavailable as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module", params=["own", "published"])
def problems(request: pytest.FixtureRequest) -> list[Problem]:
    if request.param == "own":
        return load_problems(str(OWN))
    if not (path := os.environ.get("AIFORGE_TEST_HUMANEVAL")):
        pytest.skip("AIFORGE_TEST_HUMANEVAL names no file of HumanEval's problems")
    loaded = load_problems(path)
    assert len(loaded) == 164
    return loaded


def test_canonical_solutions_pass(sandbox: Sandbox, problems: list[Problem]) -> None:
    shares: list[float] = []

    outcomes = run_all(
        sandbox, [one.program(one.canonical_solution) for one in problems], progress=shares.append
    )

    failed = [
        one.task_id for one, outcome in zip(problems, outcomes, strict=True) if not outcome.passed
    ]
    assert failed == []
    assert shares[-1] == 1.0


def test_stubs_do_not_pass(sandbox: Sandbox, problems: list[Problem]) -> None:
    bodies = itertools.cycle(
        ["    pass\n", "    raise NotImplementedError\n", "    import os\n    os._exit(0)\n"]
    )

    outcomes = run_all(
        sandbox, [one.program(body) for one, body in zip(problems, bodies, strict=False)]
    )

    assert [outcome.reason for outcome in outcomes] == ["failed"] * len(problems)


def test_an_endless_solution_costs_its_limit_alone(sandbox: Sandbox) -> None:
    problem = load_problems(str(OWN), 1)[0]
    programs = [
        problem.program("    while True: pass\n"),
        problem.program("    return 2 * number\n"),
    ]

    outcomes = run_all(sandbox, programs, limits=Limits(seconds=1.5))

    assert [outcome.reason for outcome in outcomes] == ["timeout", "passed"]


def test_problems_are_read_zipped_or_not_and_only_as_many_as_wanted(tmp_path: Path) -> None:
    zipped = tmp_path / "problems.jsonl.gz"
    zipped.write_bytes(gzip.compress(OWN.read_bytes()))

    assert load_problems(str(zipped)) == load_problems(str(OWN))
    assert len(load_problems(str(OWN), 2)) == 2


@pytest.mark.parametrize(
    "content",
    ["not json", "[]", '{"task_id": "x"}', "\xff", json.dumps({"prompt": "x" * (1 << 21)})],
)
def test_a_file_that_holds_no_problems_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(content, encoding="latin-1")

    with pytest.raises(InvalidInput) as caught:
        load_problems(str(path))
    assert caught.value.code == "humaneval_invalid"


def test_a_task_must_not_come_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.jsonl"
    path.write_text(OWN.read_text().splitlines()[0] + "\n" + OWN.read_text().splitlines()[0])

    with pytest.raises(InvalidInput, match="twice"):
        load_problems(str(path))


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="AIFORGE_HUMANEVAL"):
        load_problems(str(tmp_path / "none.jsonl"))


def test_a_hub_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(humaneval, "HUB_SECONDS", 0.0)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(Unavailable) as caught:
        load_problems("nobody/no-such-problems")
    assert caught.value.code == "humaneval_unavailable"


@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
)
def test_pass_at_k_is_the_mean_over_all_choices(sizes: tuple[int, int, int]) -> None:
    samples, correct, k = sizes
    outcomes = [True] * correct + [False] * (samples - correct)

    chosen = [any(choice) for choice in itertools.combinations(outcomes, k)]

    assert pass_at_k(samples, correct, k) == pytest.approx(fmean(chosen))


def test_pass_at_k_of_impossible_counts_is_refused() -> None:
    for counts in ((5, 6, 1), (5, -1, 1), (5, 2, 6), (5, 2, 0)):
        with pytest.raises(ValueError, match="pass@"):
            pass_at_k(*counts)


def test_the_interval_holds_the_mean_and_narrows_with_more_tasks() -> None:
    few, many = [0.0, 1.0] * 10, [0.0, 1.0] * 200

    low, high = mean_interval(few)
    narrow_low, narrow_high = mean_interval(many)

    assert low < 0.5 < high
    assert narrow_high - narrow_low < (high - low) / 2
    assert mean_interval([1.0] * 5) == (1.0, 1.0)
    assert mean_interval(few) == mean_interval(few)
