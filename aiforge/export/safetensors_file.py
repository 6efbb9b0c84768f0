"""Merged weights as one safetensors file, a stretch of rows at a time.

The library's own writer wants the whole model in memory; the format is a JSON header and the
tensors behind it (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import torch

from aiforge.export.weights import MergedWeights, stored

_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_ALIGNMENT = 8


def write_safetensors(path: Path, weights: MergedWeights, dtype: torch.dtype) -> None:
    """Write every weight in one type.

    Raises:
        Failure: A weight is not finite, or too large for the type.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    names = weights.names()
    for name in names:
        shape = weights.sources[name].shape
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            for rows in weights.stretches(name):
                file.write(stored(name, rows, dtype))
