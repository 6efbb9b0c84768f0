"""Perplexity equals its definition, however the work is cut into windows and batches."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import VOCABULARY, make_model

from aiforge.evaluation.perplexity import Perplexity, score, windows
from aiforge.modeling.prompts import IGNORED, Encoded

MODEL = make_model(initializer_range=0.3)
EXAMPLES = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 40), st.integers(0, 99)).map(
        lambda sizes: example(*sizes)
    ),
    min_size=1,
    max_size=6,
)


def example(prompt: int, completion: int, seed: int = 0) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (prompt + completion,), generator=generator).tolist()
    return Encoded(ids, [IGNORED] * prompt + ids[prompt:])


def naive(model: Any, examples: list[Encoded]) -> tuple[float, int]:
    """Sum of the negative log-likelihoods of all labels, one forward pass per example."""
    nll, tokens = 0.0, 0
    for one in examples:
        with torch.inference_mode():
            logits = model(torch.tensor([one.input_ids])).logits[0].double()
        likelihoods = logits.log_softmax(-1)
        for position, label in enumerate(one.labels):
            if label != IGNORED and position > 0:
                nll -= float(likelihoods[position - 1, label])
                tokens += 1
    return nll, tokens


@settings(max_examples=15, deadline=None)
@given(EXAMPLES, st.sampled_from([1, 64, 4096]))
def test_the_score_is_the_definition(examples: list[Encoded], batch_tokens: int) -> None:
    result = score(
        MODEL,
        examples,
        byte_counts=[3 * one.trained for one in examples],
        length=128,
        batch_tokens=batch_tokens,
    )

    nll, tokens = naive(MODEL, examples)
    assert result.nll == pytest.approx(nll, rel=1e-5, abs=1e-6)
    assert result.tokens == tokens
    assert result.bytes == 3 * tokens
    assert result.examples == sum(one.trained > 0 for one in examples)
    assert result.skipped == len(examples) - result.examples


def test_perplexity_and_bits_per_byte_follow_from_the_sums() -> None:
    result = Perplexity(nll=10 * math.log(8), tokens=10, bytes=15)

    assert result.perplexity == pytest.approx(8)
    assert result.bits_per_byte == pytest.approx(2)
    assert Perplexity(1e9, 1, 1).perplexity == math.inf
    assert math.isnan(Perplexity(0.0, 0, 0).perplexity)
    assert math.isnan(Perplexity(0.0, 0, 0).bits_per_byte)


def test_a_model_that_knows_nothing_scores_the_size_of_its_vocabulary() -> None:
    model = make_model()
    model.lm_head.weight.data.zero_()

    result = score(model, [example(3, 20)], byte_counts=[1], length=64)

    assert result.perplexity == pytest.approx(VOCABULARY, rel=1e-5)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(2, 24).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))),
    st.integers(0, 70),
    st.integers(0, 70),
)
def test_every_label_is_scored_once_with_enough_context(
    sizes: tuple[int, int], prompt: int, completion: int
) -> None:
    length, stride = sizes
    one = example(prompt, completion)
    ids = list(range(len(one.input_ids)))
    numbered = Encoded(ids, [IGNORED if a == IGNORED else i for i, a in enumerate(one.labels)])

    scored: list[int] = []
    for window in windows(numbered, length, stride):
        assert len(window.ids) <= length
        assert all(b - a == 1 for a, b in pairwise(window.ids))
        for position in window.scored:
            token = window.ids[position]
            assert position >= min(token, length - stride)
            scored.append(token)

    assert scored == [i for i in numbered.labels if i not in (IGNORED, 0)]


def test_what_fits_is_one_window() -> None:
    one = example(5, 20)

    assert len(list(windows(one, 25, 5))) == 1
    assert len(list(windows(one, 24, 12))) == 2
    assert list(windows(example(5, 0), 24, 12)) == []
    assert len(list(windows(example(200, 3), 64, 32))) == 1


@pytest.mark.parametrize("stride", [0, 8, 9])
def test_an_impossible_stride_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        list(windows(example(2, 20), 8, stride))


def test_strided_scores_differ_only_by_the_context_they_lack() -> None:
    one = [example(4, 60)]

    whole = score(MODEL, one, byte_counts=[1], length=64)
    strided = score(MODEL, one, byte_counts=[1], length=32, stride=16)

    assert strided.tokens == whole.tokens == 60
    assert strided.nll != whole.nll
    assert strided.nll == pytest.approx(whole.nll, rel=0.3)


def test_progress_rises_to_one_and_may_stop_the_work() -> None:
    shares: list[float] = []
    examples = [example(2, size) for size in (3, 9, 30)]

    score(MODEL, examples, byte_counts=[1] * 3, length=64, batch_tokens=1, progress=shares.append)

    assert shares == sorted(shares)
    assert len(shares) == 3
    assert shares[-1] == 1

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(MODEL, examples, byte_counts=[1] * 3, length=64, progress=stop)
