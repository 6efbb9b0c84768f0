"""Confidence follows from the effect and from how much it was measured on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.services.confidence import (
    Estimate,
    of_difference,
    of_repetition,
    ratio_estimate,
)

losses = st.lists(st.tuples(st.floats(0.1, 500.0), st.integers(1, 200)), min_size=2, max_size=60)


def test_the_ratio_estimate_is_the_loss_per_token() -> None:
    found = ratio_estimate([10.0, 30.0], [5, 10])

    assert found.mean == pytest.approx(40 / 15)
    assert found.samples == 2


def test_equal_ratios_leave_no_doubt_and_one_item_says_nothing() -> None:
    assert ratio_estimate([2.0, 4.0, 6.0], [1, 2, 3]).standard_error == pytest.approx(0.0)
    assert ratio_estimate([2.0], [1]).standard_error == math.inf
    with pytest.raises(ValueError, match="no weight"):
        ratio_estimate([], [])


@given(losses)
def test_more_of_the_same_makes_it_surer(items: list[tuple[float, int]]) -> None:
    totals, weights = [total for total, _ in items], [float(weight) for _, weight in items]
    once = ratio_estimate(totals, weights)
    thrice = ratio_estimate(totals * 3, weights * 3)

    assert thrice.mean == pytest.approx(once.mean)
    assert thrice.standard_error <= once.standard_error + 1e-9


estimates = st.builds(
    Estimate,
    mean=st.floats(0.0, 10.0),
    standard_error=st.floats(0.0, 2.0),
    samples=st.integers(0, 1000),
)


@given(estimates, estimates, st.floats(0.0, 1.0))
def test_confidence_is_a_percentage_and_falls_as_more_is_asked(
    higher: Estimate, lower: Estimate, margin: float
) -> None:
    asked_little, asked_much = (of_difference(higher, lower, m) for m in (0.0, margin))

    assert 0 <= asked_much <= asked_little <= 100


def test_a_large_effect_on_few_samples_is_not_sure() -> None:
    few = Estimate(3.0, 0.01, 2)
    many = Estimate(3.0, 0.01, 200)
    held_out = Estimate(1.0, 0.01, 500)

    assert of_difference(few, held_out) == 29
    assert of_difference(many, held_out) == 98
    assert of_difference(held_out, many) == 0
    assert of_difference(Estimate(3.0, math.inf, 1), held_out) == 0


def test_repetition_follows_the_rule_of_succession() -> None:
    assert [of_repetition(n) for n in (0, 1, 2, 3, 10)] == [0, 67, 75, 80, 92]
