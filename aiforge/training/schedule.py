"""The learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from 0 to ``peak``, then a fall to 0 at ``steps`` (or none)."""

    peak: float
    steps: int
    warmup: int = 0
    shape: Shape = "cosine"

    def at(self, step: int) -> float:
        """Learning rate of a step, counted from 0; never 0 before the end."""
        if step < self.warmup:
            return self.peak * (step + 1) / (self.warmup + 1)
        if self.shape == "constant":
            return self.peak
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.peak * (
            0.5 * (1 + math.cos(math.pi * done)) if self.shape == "cosine" else 1 - done
        )
