"""The gate opens for what was measured and is good enough, and for nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiforge.errors import InvalidInput
from aiforge.evaluation.gate import evaluate, passed, policy_files, policy_for, read_policy
from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.validations import (
    LOWER_IS_BETTER,
    GatePolicy,
    GateStatus,
    GateVerdict,
    Metric,
    Threshold,
)

METRICS = get_args(Metric)
VALUES = st.one_of(st.none(), st.floats(0, 10), st.sampled_from([math.nan, math.inf]))


def bounds() -> st.SearchStrategy[Threshold]:
    return st.builds(
        Threshold,
        floor=st.floats(0, 10),
        max_regression=st.one_of(st.none(), st.floats(0, 2)),
        relative=st.booleans(),
        min_samples=st.integers(1, 20),
        required=st.booleans(),
    )


def policies() -> st.SearchStrategy[GatePolicy]:
    gates = st.dictionaries(st.sampled_from(METRICS), bounds(), min_size=1)
    return st.builds(GatePolicy, gates=gates)


def figures() -> st.SearchStrategy[ValidationMetrics]:
    fields = dict.fromkeys(METRICS, VALUES)
    samples = st.dictionaries(st.sampled_from(METRICS), st.integers(0, 40))
    return st.builds(ValidationMetrics, **fields, samples=samples)


def one(metric: str, value: float | None, samples: int = 100, **more: Any) -> ValidationMetrics:
    return ValidationMetrics(**{metric: value}, samples={metric: samples}, **more)


def verdict(
    metric: Metric,
    bound: Threshold,
    value: float | None,
    champion: float | None = None,
    **more: Any,
) -> GateVerdict:
    policy = GatePolicy(gates={metric: bound})
    against = None if champion is None else one(metric, champion)
    return evaluate(policy, one(metric, value, **more), against)[0]


@given(policies(), figures(), st.one_of(st.none(), figures()))
def test_a_verdict_follows_from_the_figures(
    policy: GatePolicy, candidate: ValidationMetrics, champion: ValidationMetrics | None
) -> None:
    verdicts = evaluate(policy, candidate, champion)

    assert [each.metric for each in verdicts] == list(policy.gates)
    for each in verdicts:
        assert each.reason
        value, bound = getattr(candidate, each.metric), policy.gates[each.metric]
        if value is None:
            assert each.status is GateStatus.NOT_EVALUATED
        if each.status is GateStatus.PASS:
            assert value is not None
            assert math.isfinite(value)
            assert candidate.samples[each.metric] >= bound.min_samples
            worse = value - bound.floor if each.metric in LOWER_IS_BETTER else bound.floor - value
            assert worse <= 1e-6
    opened = passed(verdicts)
    required = [each for each in verdicts if each.required]
    assert opened == (
        all(each.status is not GateStatus.FAIL for each in verdicts)
        and all(each.status is GateStatus.PASS for each in required)
        and any(each.status is GateStatus.PASS for each in verdicts)
    )


@given(policies(), figures(), figures())
def test_to_take_a_figure_away_never_opens_the_gate(
    policy: GatePolicy, candidate: ValidationMetrics, champion: ValidationMetrics
) -> None:
    for metric, bound in policy.gates.items():
        less = candidate.model_copy(update={metric: None})
        if bound.required:
            assert not passed(evaluate(policy, less, champion))


@given(bounds(), st.floats(0, 10), st.floats(0, 10), st.floats(0, 5), st.sampled_from(METRICS))
def test_a_better_figure_never_gets_a_worse_verdict(
    bound: Threshold, value: float, champion: float, better: float, metric: Metric
) -> None:
    improved = value - better if metric in LOWER_IS_BETTER else value + better

    before = verdict(metric, bound, value, champion).status
    after = verdict(metric, bound, improved, champion).status

    assert not (before is GateStatus.PASS and after is GateStatus.FAIL)


@pytest.mark.parametrize(
    ("metric", "bound", "value", "champion", "status"),
    [
        ("codebleu", {"floor": 0.5}, 0.5, None, "pass"),
        ("codebleu", {"floor": 0.5}, 0.49, None, "fail"),
        ("latency", {"floor": 50}, 50, None, "pass"),
        ("latency", {"floor": 50}, 51, None, "fail"),
        ("humaneval", {"max_regression": 0.05}, 0.60, 0.65, "pass"),
        ("humaneval", {"max_regression": 0.05}, 0.59, 0.65, "fail"),
        ("humaneval", {"max_regression": 0.05}, 0.9, None, "not_evaluated"),
        ("bits_per_byte", {"max_regression": 0.0}, 0.8, 0.8, "pass"),
        ("bits_per_byte", {"max_regression": 0.0}, 0.81, 0.8, "fail"),
        ("perplexity", {"max_regression": 0.1, "relative": True}, 11, 10, "pass"),
        ("perplexity", {"max_regression": 0.1, "relative": True}, 11.1, 10, "fail"),
        ("perplexity", {"floor": 5}, math.inf, None, "fail"),
        ("perplexity", {"floor": 5}, math.nan, None, "fail"),
    ],
)
def test_examples(
    metric: Metric, bound: dict[str, Any], value: float, champion: float | None, status: str
) -> None:
    assert verdict(metric, Threshold(**bound), value, champion).status == status


def test_too_few_samples_say_nothing() -> None:
    given_verdict = verdict("codebleu", Threshold(floor=0.1, min_samples=50), 0.9, samples=49)

    assert given_verdict.status is GateStatus.NOT_EVALUATED
    assert "49" in given_verdict.reason
    assert not passed([given_verdict])


def test_the_reason_for_a_missing_figure_is_told() -> None:
    bound = Threshold(floor=0.1)
    candidate = ValidationMetrics(not_measured={"humaneval": "No sandbox holds here."})

    told = evaluate(GatePolicy(gates={"humaneval": bound}), candidate, None)[0]

    assert told.reason == "No sandbox holds here."


def test_a_threshold_without_a_bound_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_regression"):
        Threshold(min_samples=3)


def test_every_shipped_policy_is_valid_and_says_its_name() -> None:
    assert {"default", "tiny"} <= policy_files().keys()
    for name in policy_files():
        assert read_policy(name).name == name


def test_the_policy_follows_the_size_of_the_base() -> None:
    assert policy_for(1_000_000).name == "tiny"
    assert policy_for(3_000_000_000).name == "default"
    assert policy_for(None).name == "default"


def test_an_unknown_policy_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match="default, tiny") as caught:
        read_policy("../tiny")
    assert caught.value.code == "unknown_policy"


def test_a_broken_policy_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIFORGE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "mine.yaml").write_text("gates: {codebleu: {floor: high}}\n")

    with pytest.raises(InvalidInput, match=r"gates\.codebleu\.floor"):
        read_policy("mine")
