"""Estimators and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that one of ``k`` samples of a task is correct, without bias.

    ``1 − C(n−c, k) / C(n, k)`` (Chen et al., arXiv 2107.03374).

    Args:
        samples: ``n``, at least ``k``.
        correct: ``c``, 0 to ``n``.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"no pass@{k} from {correct} of {samples} samples")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, by percentiles (Efron 1979), tasks drawn anew.

    Args:
        values: One figure per task, at least one.
    """
    data = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(data), (RESAMPLES, len(data)))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(data[drawn].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)
