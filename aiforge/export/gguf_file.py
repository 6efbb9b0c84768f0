"""Merged weights as a GGUF file, a stretch of rows at a time.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names of keys and tensors
are the ``gguf`` package's; what each architecture wants is llama.cpp's (``conversion/`` there).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import gguf
import numpy as np
import torch
from torch import Tensor

from aiforge.errors import Failure
from aiforge.export.architectures import (
    ARCHITECTURES,
    Architecture,
    Config,
    context_limit,
    head_dim,
    rope_of,
)
from aiforge.export.vocabulary import Vocabulary
from aiforge.export.weights import MergedWeights, stored
from aiforge.modeling.gguf_quantize import FILE_TYPES

FLOAT_TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
"""The types that are written here; all others are made of these by llama.cpp."""

_GGML = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
}
_BITS = {2: torch.int16, 4: torch.int32}
"""A type of integers by the bytes of one."""

_QUANTIZATION_VERSION = 2
_TOLD_SHARE = 0.01
"""How much is written between two tellings of it."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class _Tensor:
    """One tensor to write: its name there, where it comes from, and how it is stored."""

    name: str
    shape: tuple[int, ...]
    file_type: str
    rows: Callable[[], Iterator[Tensor]]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * FLOAT_TYPES[self.file_type].itemsize


def write_gguf(
    path: Path,
    weights: MergedWeights,
    config: Config,
    vocabulary: Vocabulary,
    file_type: str,
    *,
    name: str,
    progress: Progress = lambda fraction: None,
) -> None:
    """Write a model in ``f32``, ``f16`` or ``bf16``; norms and biases are always float32.

    Args:
        path: The file; a partial one stays where this fails.
        name: What the file says the model is called.
        progress: Told how much was written, 0 to 1.

    Raises:
        Failure: A weight is not finite, has no place in this architecture, or is too large for
            16 bit (``weights_overflow``).
    """
    architecture = ARCHITECTURES[str(config["model_type"])]
    writer = gguf.GGUFWriter(path, architecture.name)
    _write_parameters(writer, config, architecture)
    writer.add_name(vocabulary.safe_name(name))
    writer.add_file_type(FILE_TYPES[file_type])
    writer.add_quantization_version(_QUANTIZATION_VERSION)
    vocabulary.write(writer)
    tensors = [*_rope_factors(config), *_tensors(weights, config, architecture, file_type)]
    for tensor in tensors:
        # The element type is told by raw_dtype; numpy has no bfloat16.
        writer.add_tensor_info(
            tensor.name,
            tensor.shape,
            np.dtype(np.float32),
            tensor.nbytes,
            _GGML[tensor.file_type],
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        _write_tensors(writer.fout[0], tensors, writer.data_alignment, progress)
    finally:
        writer.close()


def _write_tensors(
    file: IO[bytes], tensors: list[_Tensor], alignment: int, progress: Progress
) -> None:
    total = sum(tensor.nbytes for tensor in tensors)
    done = told = 0
    _pad(file, alignment)
    for tensor in tensors:
        for rows in tensor.rows():
            file.write(stored(tensor.name, rows, FLOAT_TYPES[tensor.file_type]))
            done += rows.numel() * FLOAT_TYPES[tensor.file_type].itemsize
            if done - told >= total * _TOLD_SHARE:
                progress(done / total)
                told = done
        _pad(file, alignment)
    file.flush()


def _pad(file: IO[bytes], alignment: int) -> None:
    file.write(bytes(-file.tell() % alignment))


def _tensors(
    weights: MergedWeights, config: Config, architecture: Architecture, file_type: str
) -> Iterator[_Tensor]:
    arch = gguf.MODEL_ARCH_NAMES
    key = next(key for key, value in arch.items() if value == architecture.name)
    names = gguf.get_tensor_name_map(key, int(config["num_hidden_layers"]))
    for source_name in weights.names():
        shape = weights.sources[source_name].shape
        name = names.get_name(source_name, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise Failure(
                f"{source_name} has no place in a GGUF of the architecture {architecture.name}.",
                code="not_exportable",
            )
        yield _Tensor(
            name,
            shape,
            file_type if len(shape) > 1 else "f32",
            partial(_rows, weights, source_name, config, architecture),
        )


def _rows(
    weights: MergedWeights, name: str, config: Config, architecture: Architecture
) -> Iterator[Tensor]:
    """A weight as llama.cpp wants it."""
    layer = name.rpartition(".")[0]
    if architecture.permutes_heads and layer.endswith(("q_proj", "k_proj")):
        head = head_dim(config)
        assert head is not None
        for rows in weights.stretches(name, head):
            yield _halves_to_pairs(rows, head)
        return
    shift = architecture.norm_shift if layer.endswith("norm") else 0.0
    for rows in weights.stretches(name):
        yield rows.float() + shift if shift else rows


def _halves_to_pairs(rows: Tensor, head: int) -> Tensor:
    """Put rows that are rotated together side by side, instead of half a head apart."""
    # By numpy, as bits: torch shares so small a copy among threads, which wait for each other.
    bits = rows.view(_BITS[rows.dtype.itemsize]).numpy()
    split = bits.reshape(rows.shape[0] // head, 2, head // 2, -1)
    pairs = np.ascontiguousarray(split.swapaxes(1, 2)).reshape(bits.shape)
    return torch.from_numpy(pairs).view(rows.dtype)


def _write_parameters(writer: Any, config: Config, architecture: Architecture) -> None:
    kind = str(config["model_type"])
    heads = int(config["num_attention_heads"])
    head = head_dim(config)
    assert head is not None
    writer.add_context_length(context_limit(config))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_key_length(head)
    writer.add_value_length(head)
    rope = rope_of(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_rope_dimension_count(_rotated(config, head))
    _write_scaling(writer, config, rope)
    if architecture.has_windows:
        _write_windows(writer, config, kind)


def _rotated(config: Config, head: int) -> int:
    return int(head * float(rope_of(config).get("partial_rotary_factor") or 1.0))


def _write_scaling(writer: Any, config: Config, rope: dict[str, Any]) -> None:
    if original := rope.get("original_max_position_embeddings"):
        writer.add_rope_scaling_orig_ctx_len(int(original))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
        for key, add in (
            ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
            ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
        ):
            if rope.get(key) is not None:
                add(float(rope[key]))
    elif rope["rope_type"] == "longrope":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_attn_factors(_longrope_attention(config, rope))


def _longrope_attention(config: Config, rope: dict[str, Any]) -> float:
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    original = int(rope["original_max_position_embeddings"])
    scale = float(rope.get("factor") or int(config["max_position_embeddings"]) / original)
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0


def _write_windows(writer: Any, config: Config, kind: str) -> None:
    layers = int(config["num_hidden_layers"])
    period = 2 if kind == "gemma2" else int(config.get("sliding_window_pattern") or 6)
    usual = [
        "full_attention" if number % period == period - 1 else "sliding_attention"
        for number in range(layers)
    ]
    kinds = list(config.get("layer_types") or usual)
    writer.add_sliding_window(int(config.get("sliding_window") or 4096))
    expected_period = 2 if kind == "gemma2" else 6
    if kinds != usual or period != expected_period:
        writer.add_sliding_window_pattern([layer == "sliding_attention" for layer in kinds])
    if kind == "gemma2":
        for key, add in (
            ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
            ("final_logit_softcapping", writer.add_final_logit_softcapping),
        ):
            # Absent means none to transformers and a default to llama.cpp.
            add(float(config.get(key) or 0.0))
    else:
        local = rope_of(config, "sliding_attention")
        writer.add_rope_freq_base_swa(float(local["rope_theta"]))
        if softcap := config.get("final_logit_softcapping"):
            writer.add_final_logit_softcapping(float(softcap))


def _rope_factors(config: Config) -> Iterator[_Tensor]:
    """Divisors of the rotary frequencies, where the scaling has some for each."""
    rope = rope_of(config)
    if rope["rope_type"] == "llama3":
        yield _factors("rope_freqs.weight", _llama3_factors(config, rope))
    elif rope["rope_type"] == "longrope":
        yield _factors("rope_factors_long.weight", torch.tensor(rope["long_factor"]))
        yield _factors("rope_factors_short.weight", torch.tensor(rope["short_factor"]))


def _factors(name: str, values: Tensor) -> _Tensor:
    values = values.to(torch.float32)
    return _Tensor(name, tuple(values.shape), "f32", lambda: iter([values]))


def _llama3_factors(config: Config, rope: dict[str, Any]) -> Tensor:
    """Llama 3.1's scaling: long waves by ``factor``, short ones not, those between smoothly."""
    head = head_dim(config)
    assert head is not None
    exponents = torch.arange(0, head, 2, dtype=torch.float32) / head
    waves = 2 * math.pi * float(rope["rope_theta"]) ** exponents
    original = float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    factor = float(rope["factor"])
    smooth = ((original / waves - low) / (high - low)).clamp(0, 1)
    return 1 / ((1 - smooth) / factor + smooth)
