"""How many floating-point operations a step takes, and how many a device could do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiforge.modeling.linears import Shape

_PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIE": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "A40": 150e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
}
"""Dense bfloat16 FLOP/s by a part of the device's name, from the vendors' data sheets."""


@dataclass(frozen=True)
class StepFlops:
    """FLOPs that the model itself needs; what is computed twice to save memory does not count.

    A multiplication by a frozen weight costs 2 FLOPs per weight and token forward and 2 backward;
    by a trained one 2 and 4. Attention costs 2·width FLOPs for each pair of positions that see
    each other, twice (scores, values), and twice that backward. The output layer is counted for
    trained positions alone, since it is computed for no others.

    Args:
        shape: Of the base model.
        adapter: Values of the adapters; ``None`` where every weight is trained.
    """

    shape: Shape
    adapter: int | None

    def of(self, lengths: Iterable[int], targets: int) -> float:
        """FLOPs of a step on documents of these lengths, ``targets`` positions of them trained."""
        shape = self.shape
        documents = list(lengths)
        tokens = sum(documents)
        blocks = shape.layers * shape.block_linears
        per_weight = 6 if self.adapter is None else 4
        matrices = per_weight * blocks * tokens + 6 * (self.adapter or 0) * tokens
        head = per_weight * shape.embedding * targets
        pairs = sum(length * (length + 1) / 2 for length in documents)
        attention = 3 * 4 * shape.layers * shape.heads * shape.head_dim * pairs
        return float(matrices + head + attention)


def peak_flops(device_name: str) -> float | None:
    """Dense bfloat16 FLOP/s of a device; ``None`` where they are not known."""
    upper = device_name.upper()
    for part in sorted(_PEAKS, key=len, reverse=True):
        words = upper.replace("-", " ").split()
        if all(word in words for word in part.split()):
            return _PEAKS[part]
    return None
