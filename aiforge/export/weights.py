"""A base model's weights with an adapter folded in, read a stretch of rows at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import Tensor

from aiforge.errors import Failure
from aiforge.modeling.publish import CONFIG_FILE, WEIGHTS_FILE

STRETCH_BYTES = 16 << 20
"""Size in float32 of the rows that are worked on at once."""

HALF_MAXIMUM = 65504.0
"""The largest number that float16 has."""

_PREFIX = "base_model.model."
_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_IGNORED = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")


@dataclass(frozen=True)
class Source:
    """Where one weight lies and what it is; ``dtype`` is its type in the file."""

    shard: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


class MergedWeights:
    """``W + s·BA`` for every weight that the adapter changes, the others as they are.

    Sums are made in float32. One shard is open at a time, and never more than some rows of a
    weight are in memory; the adapter is, as it is small.

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
        """The rows of a weight in order, in float32, some at a time.

        Args:
            rows_multiple: Of rows that belong together; stretches begin at multiples of it.

        Raises:
            Failure: A value is NaN or infinite (``weights_not_finite``).
        """
        source = self.sources[name]
        rows, width = source.shape[0], _width(source.shape)
        step = max(1, STRETCH_BYTES // (4 * width * rows_multiple)) * rows_multiple
        stored = self._open.slice(source.shard, name)
        for start in range(0, rows, step):
            yield self._merged(name, stored[start : start + step], start)

    def tensor(self, name: str) -> Tensor:
        """A whole weight in float32."""
        return torch.cat(list(self.stretches(name)))

    def _merged(self, name: str, stored: Tensor, start: int) -> Tensor:
        merged = stored.to(torch.float32)
        if name in self._adapter:
            a, b, scaling = self._adapter[name]
            merged = torch.addmm(merged, b[start : start + len(stored)], a, alpha=scaling)
        if not torch.isfinite(merged).all():
            raise Failure(
                f"{name} holds NaN or infinite values; the model cannot be used, so nothing was "
                "exported. Train again with a smaller learning rate.",
                code="weights_not_finite",
            )
        return merged


class _OneShard:
    """Keeps the shard that was used last open."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._path: Path | None = None
        self._file: Any = None

    def slice(self, shard: Path, name: str) -> Any:
        if shard != self._path:
            self.close()
            self._file = self._stack.enter_context(safe_open(shard, framework="pt"))
            self._path = shard
        return self._file.get_slice(name)

    def close(self) -> None:
        self._stack.close()
        self._path = self._file = None


def stored(name: str, rows: Tensor, dtype: torch.dtype) -> memoryview:
    """The bytes of some rows in the type of a file.

    Raises:
        Failure: A value is too large for float16 (``weights_overflow``).
    """
    if dtype is torch.float16 and rows.abs().max() > HALF_MAXIMUM:
        raise Failure(
            f"{name} holds values beyond the range of float16; export as bf16 or f32.",
            code="weights_overflow",
        )
    raw: Any = rows.to(dtype).contiguous().view(torch.uint8).numpy().reshape(-1)
    return memoryview(raw)


def _width(shape: tuple[int, ...]) -> int:
    width = 1
    for size in shape[1:]:
        width *= size
    return width


def _sources(shards: list[Path], tied: bool) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for shard in shards:
        try:
            with safe_open(shard, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    if name.endswith(_IGNORED) or (tied and name == "lm_head.weight"):
                        continue
                    stored = file.get_slice(name)
                    shape, kind = tuple(stored.get_shape()), stored.get_dtype()
                    found[name] = Source(shard, shape, _float(name, kind))
        except Failure:
            raise
        except Exception as error:  # safetensors raises its own kind
            raise Failure(
                f"{shard.name} cannot be read: {error}; copy the model's files again.",
                code="base_model_unreadable",
            ) from error
    return found


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


class LazyState(Mapping[str, Tensor]):
    """Merged weights as a model's state, each made anew when it is asked for.

    Args:
        prepare: Makes what the model should compute with of a merged weight.
        tied: ``lm_head.weight`` is the embedding.
    """

    def __init__(
        self, weights: MergedWeights, prepare: Callable[[Tensor], Tensor], *, tied: bool
    ) -> None:
        self._weights = weights
        self._prepare = prepare
        self._aliases = {"lm_head.weight": "model.embed_tokens.weight"} if tied else {}

    def __getitem__(self, name: str) -> Tensor:
        return self._prepare(self._weights.tensor(self._aliases.get(name, name)))

    def __iter__(self) -> Iterator[str]:
        yield from self._weights.sources
        yield from self._aliases

    def __len__(self) -> int:
        return len(self._weights.sources) + len(self._aliases)
