"""Losses of single examples add up to what the whole set loses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import make_base

from aiforge.errors import Failure
from aiforge.evaluation.drift import example_losses
from aiforge.evaluation.validate import Models, score_rows
from aiforge.modeling.load import load_tokenizer

ROWS = [
    {"instruction": f"What is f{n}?", "input": "def f(): ...", "output": "It is a function. " * n}
    for n in range(1, 5)
]


def test_the_losses_of_examples_add_up_to_that_of_the_set(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    seen: list[float] = []

    losses = example_losses(base, None, {"a": ROWS, "b": ROWS[:1]}, 256, seen.append)

    whole = score_rows(Models(base).get(None), load_tokenizer(base), ROWS, 256)
    assert [len(losses["a"]), len(losses["b"])] == [4, 1]
    assert sum(one.tokens for one in losses["a"]) == whole.tokens
    assert sum(one.nll for one in losses["a"]) == pytest.approx(whole.nll, rel=1e-4)
    assert losses["b"][0].nll == pytest.approx(losses["a"][0].nll)


def test_a_set_without_completions_is_refused(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")

    with pytest.raises(Failure) as refused:
        example_losses(base, None, {"a": ROWS, "b": []}, 256)
    assert refused.value.code == "nothing_to_score"
