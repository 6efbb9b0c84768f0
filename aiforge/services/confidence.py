"""How sure a watcher is, from the size of an effect and of the sample it was measured on.

All functions give whole percents, so that a person can compare missions of different kinds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALL_SAMPLE = 5.0
"""Pseudo-observations that a measured effect has to outweigh: n of them halve the confidence."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, over ``samples`` independent measurements."""

    mean: float
    standard_error: float
    samples: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval (normal approximation)."""
        half = 1.96 * self.standard_error
        return self.mean - half, self.mean + half


def ratio_estimate(totals: Sequence[float], weights: Sequence[float]) -> Estimate:
    """Mean per unit of weight, and its standard error when whole items are drawn, not units.

    The ratio estimator's linearised variance (Cochran, Sampling Techniques, 1977, ch. 6). With
    ``totals`` the summed negative log-likelihood of each chunk and ``weights`` its tokens, this
    is the loss per token with chunks as the independent unit: tokens of one chunk are not.

    Raises:
        ValueError: There is nothing to average.
    """
    total_weight = sum(weights)
    if not total_weight:
        raise ValueError("no weight to average over")
    mean = sum(totals) / total_weight
    count = len(totals)
    if count < 2:
        return Estimate(mean, math.inf, count)
    squares = sum((t - mean * w) ** 2 for t, w in zip(totals, weights, strict=True))
    variance = squares * count / (count - 1) / total_weight**2
    return Estimate(mean, math.sqrt(variance), count)


def of_difference(higher: Estimate, lower: Estimate, margin: float = 0.0) -> int:
    """Confidence that one mean lies above another by more than a margin.

    ``100 · Φ((difference − margin) / standard error) · n / (n + 5)``, with ``n`` the smaller
    sample: the first factor is the normal approximation of the probability, the second keeps a
    handful of measurements from being sure of anything.
    """
    difference = higher.mean - lower.mean - margin
    error = math.hypot(higher.standard_error, lower.standard_error)
    samples = min(higher.samples, lower.samples)
    if not math.isfinite(error):
        return 0
    if error == 0:
        probability = 1.0 if difference > 0 else 0.0
    else:
        probability = 0.5 * math.erfc(-difference / error / math.sqrt(2))
    return round(100 * probability * samples / (samples + SMALL_SAMPLE))


def of_repetition(times: int) -> int:
    """Confidence that what happened every one of ``times`` times will happen again.

    Laplace's rule of succession, ``(n + 1) / (n + 2)``: 75 for 2, 80 for 3, 92 for 10.
    """
    return round(100 * (times + 1) / (times + 2)) if times > 0 else 0
