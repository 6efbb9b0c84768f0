"""A base model's weights with an adapter folded in, read a stretch of rows at a time."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from aiforge.errors import Failure
from aiforge.modeling.publish import CONFIG_FILE, WEIGHTS_FILE

STRETCH_BYTES = 1 << 20
"""Size in the file of the rows that are worked on at once: what stays in a core's cache between
being read, looked at and written. Larger ones cost up to twice the time."""

MERGED_STRETCH_BYTES = 8 << 20
"""The same of a weight that is merged: what threads share a product over must be worth it."""

HALF_MAXIMUM = 65504.0
"""The largest number that float16 has."""

_PREFIX = "base_model.model."
_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_IGNORED = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")


@dataclass(frozen=True)
class Source:
    """Where one weight lies and what it is; ``dtype`` is its type in the file."""

    shard: Path
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Values of one row."""
        return math.prod(self.shape[1:])


class MergedWeights:
    """``W + s·BA`` for every weight that the adapter changes, the others as they are.

    Sums are made in float32. Never more than some rows of a weight are in memory; the adapter
    is, as it is small.

    Args:
        shards: The safetensors files of the base model.
        adapter: Directory of a plain LoRA in PEFT's format; absent for a model as it is.
        tied: The output projection is the embedding, whatever the files hold.

    Raises:
        Failure: A file cannot be read, or the adapter was not made for this base.
    """

    def __init__(
        self, shards: list[Path], adapter: Path | None = None, *, tied: bool = False
    ) -> None:
        self._open = _OneShard()
        self._masked = np.empty(0, np.uint8)
        self.sources = _sources(shards, tied)
        self._adapter = _read_adapter(adapter) if adapter else {}
        for name, (a, b, _) in self._adapter.items():
            found = self.sources.get(name)
            if found is None or found.shape != (b.shape[0], a.shape[1]):
                raise Failure(
                    f"The adapter changes {name}, which the base model does not have in this "
                    "shape; export it on the base that it was trained on.",
                    code="adapter_mismatch",
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def names(self) -> list[str]:
        """All weights, shard by shard."""
        return sorted(self.sources, key=lambda name: (self.sources[name].shard, name))

    def changed(self) -> list[str]:
        """The weights that the adapter changes."""
        return [name for name in self.names() if name in self._adapter]

    def stretches(self, name: str, rows_multiple: int = 1) -> Iterator[Tensor]:
        """The rows of a weight in order, some at a time; in float32 where the adapter changes it.

        Each stretch is overwritten by the next one: use it, or copy it.

        Args:
            rows_multiple: Of rows that belong together; stretches begin at multiples of it.

        Raises:
            Failure: A value is NaN or infinite (``weights_not_finite``).
        """
        source = self.sources[name]
        row_bytes = source.width * source.dtype.itemsize
        at_once = MERGED_STRETCH_BYTES if name in self._adapter else STRETCH_BYTES
        step = max(1, at_once // (row_bytes * rows_multiple)) * rows_multiple
        for start in range(0, source.shape[0], step):
            rows = self._open.rows(source, start, min(step, source.shape[0] - start))
            yield self._merged(name, rows, start)

    def tensor(self, name: str) -> Tensor:
        """A whole weight in float32."""
        whole = torch.empty(self.sources[name].shape)
        start = 0
        for rows in self.stretches(name):
            whole[start : start + len(rows)] = rows
            start += len(rows)
        return whole

    def _merged(self, name: str, rows: Tensor, start: int) -> Tensor:
        if name in self._adapter:
            a, b, scaling = self._adapter[name]
            rows = torch.addmm(rows.float(), b[start : start + len(rows)], a, alpha=scaling)
        if not self._is_finite(rows):
            raise Failure(
                f"{name} holds NaN or infinite values; the model cannot be used, so nothing was "
                "exported. Train again with a smaller learning rate.",
                code="weights_not_finite",
            )
        return rows

    def _is_finite(self, rows: Tensor) -> bool:
        """Whether all values are numbers; many times as fast as ``torch.isfinite``."""
        kind, exponent = _EXPONENTS[rows.dtype]
        bits = rows.view(kind).numpy()
        if self._masked.nbytes < bits.nbytes:
            self._masked = np.empty(bits.nbytes, np.uint8)
        masked = self._masked[: bits.nbytes].view(bits.dtype).reshape(bits.shape)
        np.bitwise_and(bits, exponent, out=masked)
        return bool(masked.max() != exponent)


class _OneShard:
    """Reads rows of one shard at a time, into a buffer that is used again.

    A mapped file would do as well, but all of its pages that were read count as memory until it
    is closed; a fresh buffer for each stretch costs more than reading into it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    def rows(self, source: Source, start: int, number: int) -> Tensor:
        if source.shard != self._path:
            self.close()
            self._file, self._path = source.shard.open("rb", buffering=0), source.shard
        assert self._file is not None
        row_bytes = source.width * source.dtype.itemsize
        self._file.seek(source.offset + start * row_bytes)
        if len(self._buffer) < number * row_bytes:
            self._buffer = bytearray(number * row_bytes)
        view = memoryview(self._buffer)[: number * row_bytes]
        while len(view):
            count = self._file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise Failure(
                    f"{source.shard.name} ends too soon; copy the model's files again.",
                    code="base_model_unreadable",
                )
            view = view[count:]
        values = torch.frombuffer(self._buffer, dtype=source.dtype, count=number * source.width)
        return values.reshape(number, *source.shape[1:])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path = self._file = None


_EXPONENTS = {
    torch.float32: (torch.int32, 0x7F800000),
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
}
"""An integer of the same size, and the bits that are all set in NaN and infinity alone."""


def stored(name: str, rows: Tensor, dtype: torch.dtype) -> memoryview:
    """The bytes of some rows in the type of a file; the rows' own where that is theirs.

    Raises:
        Failure: A value is too large for float16 (``weights_overflow``).
    """
    may_overflow = dtype is torch.float16 and rows.dtype is not torch.float16
    if may_overflow and max(map(abs, torch.aminmax(rows))) > HALF_MAXIMUM:
        raise Failure(
            f"{name} holds values beyond the range of float16; export as bf16 or f32.",
            code="weights_overflow",
        )
    raw: Any = rows.to(dtype).contiguous().view(torch.uint8).numpy().reshape(-1)
    return memoryview(raw)


def _sources(shards: list[Path], tied: bool) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for shard in shards:
        try:
            # Opening checks the header against the file.
            with safe_open(shard, framework="pt"):
                pass
            header, begin = _header(shard)
        except Exception as error:  # safetensors raises its own kind
            raise Failure(
                f"{shard.name} cannot be read: {error}; copy the model's files again.",
                code="base_model_unreadable",
            ) from error
        for name, stored in header.items():
            unwanted = tied and name == "lm_head.weight"
            if name == "__metadata__" or name.endswith(_IGNORED) or unwanted:
                continue
            offset = begin + int(stored["data_offsets"][0])
            kind = _float(name, stored["dtype"])
            found[name] = Source(shard, offset, tuple(stored["shape"]), kind)
    return found


def _header(shard: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file holds, and where its values begin."""
    with shard.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    return header, 8 + int(length)


def _float(name: str, kind: str) -> torch.dtype:
    if kind not in _FLOATS:
        raise Failure(
            f"{name} is of type {kind}; only weights in float32, float16 and bfloat16 can be "
            "exported.",
            code="base_model_unreadable",
        )
    return _FLOATS[kind]


Factors = tuple[Tensor, Tensor, float]
"""A (rank, in), B (out, rank) and the scaling of their product."""


def _read_adapter(directory: Path) -> Mapping[str, Factors]:
    """The factors of a plain LoRA by the name of the weight that they change."""
    try:
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        scaling = float(config["lora_alpha"]) / float(config["r"])
        factors: dict[str, Factors] = {}
        with safe_open(directory / WEIGHTS_FILE, framework="pt") as file:
            for key in sorted(file.keys()):
                layer, _, part = key.removeprefix(_PREFIX).rpartition(".lora_")
                if part == "A.weight":
                    b_key = f"{_PREFIX}{layer}.lora_B.weight"
                    a, b = file.get_tensor(key).float(), file.get_tensor(b_key).float()
                    factors[f"{layer}.weight"] = (a, b, scaling)
            unused = len(file.keys()) - 2 * len(factors)
    except Exception as error:  # safetensors raises its own kind
        raise Failure(
            f"The adapter in {directory} cannot be read: {error}", code="adapter_unreadable"
        ) from error
    special = [key for key in _SPECIAL if config.get(key)]
    if unused or special or config.get("bias", "none") != "none":
        raise Failure(
            "The adapter is more than a plain LoRA; merge it with PEFT and export the whole model.",
            code="adapter_mismatch",
        )
    return factors


_SPECIAL = (
    "use_rslora",
    "use_dora",
    "fan_in_fan_out",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
)
