"""How good a dataset is: measured components and their weighted geometric mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aiforge.raft.answers import Answer, parse_answer
from aiforge.raft.dedup import near_duplicates
from aiforge.raft.examples import is_valid
from aiforge.raft.terms import terms_of

WEIGHTS: dict[str, float] = {
    "groundedness": 0.30,
    "nonTriviality": 0.15,
    "uniqueness": 0.15,
    "validity": 0.10,
    "fit": 0.10,
    "hardness": 0.10,
    "noLeakage": 0.10,
}

_TRIVIAL_SHARE = 0.9


def measure(
    rows: Sequence[Mapping[str, Any]], cluster_of: Mapping[int, int], too_long: int
) -> tuple[dict[str, float | None], dict[str, int]]:
    """Components of the quality of a dataset, each from 0 to 1, and the size of each sample.

    - groundedness: share of quotes that stand verbatim in the golden chunk
    - nonTriviality: share of answers that are not already said by their question
    - uniqueness: 1 − share of examples that nearly equal an earlier one (MinHash, J ≥ 0.8)
    - validity: share of rows that are complete and have the form of an answer
    - fit: share of examples that were not dropped for their length
    - hardness: how close the best distractor comes to the golden chunk by BM25, on average
    - noLeakage: share of validation examples with no near-duplicate chunk in training

    A component without a sample is ``None``.

    Args:
        rows: Rows of ``RESULTS``, without those that were dropped.
        cluster_of: Near-duplicate cluster by chunk.
        too_long: How many examples were dropped because they did not fit.
    """
    quotes = sum(row["quotes"] for row in rows)
    grounded = sum(row["grounded"] for row in rows)
    hardness = [row["hardness"] for row in rows if row["hardness"] is not None]
    training = {cluster_of[row["oracle"]] for row in rows if not row["validation"]}
    held_out = [row for row in rows if row["validation"]]
    clean = sum(cluster_of[row["oracle"]] not in training for row in held_out)
    total = len(rows)
    answers = [parse_answer(row["output"]) for row in rows]
    pairs = list(zip(rows, answers, strict=True))
    terms = [_terms(*pair) for pair in pairs]
    samples = {
        "groundedness": (grounded, quotes),
        "nonTriviality": (sum(not _is_trivial(asked, said) for asked, _, said in terms), total),
        "uniqueness": (_distinct(terms), total),
        "validity": (sum(is_valid(*pair) for pair in pairs), total),
        "fit": (total, total + too_long),
        "hardness": (sum(hardness), len(hardness)),
        "noLeakage": (clean, len(held_out)),
    }
    components = {
        name: round(part / whole, 4) if whole else None for name, (part, whole) in samples.items()
    }
    return components, {name: whole for name, (_, whole) in samples.items()}


def quality(components: Mapping[str, float | None]) -> float | None:
    """Weighted geometric mean of the measured components; any zero gives zero."""
    measured = {name: value for name, value in components.items() if value is not None}
    if not measured:
        return None
    if min(measured.values()) <= 0:
        return 0.0
    weight = sum(WEIGHTS[name] for name in measured)
    return round(
        math.exp(sum(WEIGHTS[n] * math.log(value) for n, value in measured.items()) / weight), 4
    )


_Terms = tuple[list[int], list[int], list[int]]


def _terms(row: Mapping[str, Any], answer: Answer | None) -> _Terms:
    """Terms of a question, of what stands before its answer, and of the answer."""
    output = row["output"].rstrip()
    start = len(output) - (len(answer.answer) if answer else 0)
    return terms_of(row["instruction"]), terms_of(output[:start]), terms_of(output[start:])


def _is_trivial(asked: Sequence[int], said: Sequence[int]) -> bool:
    known = set(asked)
    return not said or sum(word in known for word in said) >= _TRIVIAL_SHARE * len(said)


def _distinct(terms: Sequence[_Terms]) -> int:
    heads = near_duplicates([asked + reason + said for asked, reason, said in terms])
    return int((heads == np.arange(len(heads))).sum())
