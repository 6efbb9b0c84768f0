"""How good a dataset is: measured components and their weighted geometric mean."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiforge.raft.dedup import Sketches, clusters

WEIGHTS: dict[str, float] = {
    "groundedness": 0.30,
    "nonTriviality": 0.15,
    "uniqueness": 0.15,
    "validity": 0.10,
    "fit": 0.10,
    "hardness": 0.10,
    "noLeakage": 0.10,
}


def measure(
    rows: pa.Table, cluster_of: NDArray[np.int64], too_long: int
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
        rows: Of ``MEASURES``, without those that were dropped.
        cluster_of: Near-duplicate cluster of each chunk.
        too_long: How many examples were dropped because they did not fit.
    """
    total = rows.num_rows
    held_out = rows.column("validation").to_numpy()
    of_row = cluster_of[rows.column("oracle").to_numpy()]
    clean = ~np.isin(of_row[held_out], of_row[~held_out])
    hardness = rows.column("hardness").drop_null()
    heads = clusters(Sketches.of_columns(rows.column("minima"), rows.column("bands")))
    samples = {
        "groundedness": (_sum(rows, "grounded"), _sum(rows, "quotes")),
        "nonTriviality": (total - _sum(rows, "trivial"), total),
        "uniqueness": (int((heads == np.arange(total)).sum()), total),
        "validity": (_sum(rows, "valid"), total),
        "fit": (total, total + too_long),
        "hardness": (sum(hardness.to_pylist()), len(hardness)),
        "noLeakage": (int(clean.sum()), len(clean)),
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


def _sum(rows: pa.Table, name: str) -> int:
    return pc.sum(rows.column(name)).as_py() or 0
