"""Frozen weights in 4 bits: NF4 of QLoRA (Dettmers et al., arXiv 2305.14314), by bitsandbytes.

Torch is imported by whoever brings a weight: whether weights can be quantized at all is asked
where there is none.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any, Literal

from aiforge.errors import InvalidInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Quantization = Literal["nf4"]

BLOCK = 64
"""Weights that share one scale."""


class Nf4Weight:
    """A weight of shape (out, in) as 4-bit codes and a float32 scale for every ``BLOCK`` of them.

    It is no part of a module's parameters, so neither a cast nor a partition touches it.
    """

    def __init__(self, weight: Tensor) -> None:
        bnb = _functional()
        self.shape = weight.shape
        self.codes, self._state = bnb.quantize_4bit(
            weight.detach().float().contiguous(), quant_type="nf4", blocksize=BLOCK
        )

    @property
    def nbytes(self) -> int:
        """What codes and scales occupy."""
        return int(self.codes.nbytes + self._state.absmax.nbytes)

    def dequantize(self, dtype: torch.dtype) -> Tensor:
        """The weight as computed with, shape (out, in)."""
        weight: Tensor = _functional().dequantize_4bit(self.codes, self._state)
        return weight.to(dtype)


def round_trip(weight: Tensor) -> Tensor:
    """What is left of a weight once it was in 4 bits, in its own type."""
    return Nf4Weight(weight).dequantize(weight.dtype)


def require_available() -> None:
    """Refuse where weights cannot be quantized.

    Raises:
        InvalidInput: bitsandbytes is not installed (``quantization_unavailable``).
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InvalidInput(
            "quantizeBase needs bitsandbytes, which is not installed; "
            "run `pip install 'aiforge[quantization]'` on every node, or leave quantizeBase out.",
            code="quantization_unavailable",
            field="quantizeBase",
            error="bitsandbytes is not installed",
        )


def _functional() -> Any:
    require_available()
    # It warns at import that a kernel for CPUs, which is not needed here, was not downloaded.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import bitsandbytes.functional

    return bitsandbytes.functional
