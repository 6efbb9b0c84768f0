"""Measure a base model, or the model that an adapter makes of it, on held-out rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aiforge.errors import Failure
from aiforge.evaluation.perplexity import Perplexity, Progress, score
from aiforge.modeling.bases import BaseModel, context_length
from aiforge.modeling.load import load_model, load_tokenizer
from aiforge.modeling.lora import merge
from aiforge.modeling.prompts import IGNORED, Encoded, encode_example
from aiforge.modeling.publish import load_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ADAPTER_CONFIG = "adapter_config.json"
MAX_WINDOWS = 16
"""An example longer than so many windows is cut; it would outweigh all others."""


def evaluate_adapter(
    base: BaseModel,
    adapter: Path | None,
    rows: Iterable[Mapping[str, Any]],
    max_length: int,
    progress: Progress | None = None,
) -> Perplexity:
    """Perplexity of a model on the completions of dataset rows.

    Base and tuned model see the same tokens: prompts are made by the base's tokenizer and chat
    template, and rows longer than ``max_length`` are scored in overlapping windows.

    Args:
        base: The base model.
        adapter: Directory of a published adapter, or of the whole model that full fine-tuning
            gives; ``None`` measures the base itself.
        rows: Rows with ``instruction``, ``input`` and ``output``.
        max_length: Window in tokens; capped by the model's context length.
        progress: Called with the share done, 0 to 1; may raise to stop.

    Raises:
        Failure: Nothing can be scored, or the model or adapter cannot be loaded.
    """
    tokenizer = load_tokenizer(base)
    window = min(max_length, context_length(base))
    encoded = [encode_example(tokenizer, row, window * MAX_WINDOWS) for row in rows]
    examples = [example for example in encoded if example is not None]
    if not examples:
        raise Failure(
            "No row has a completion to score; build the dataset from sources with more content.",
            code="nothing_to_score",
        )
    result = score(
        _load(base, adapter),
        examples,
        byte_counts=[scored_bytes(tokenizer, example) for example in examples],
        length=window,
        progress=progress,
    )
    skipped = result.skipped + len(encoded) - len(examples)
    return Perplexity(result.nll, result.tokens, result.bytes, result.examples, skipped)


def scored_bytes(tokenizer: PreTrainedTokenizerFast, example: Encoded) -> int:
    """UTF-8 bytes of an example's trained text, special tokens not counted."""
    ids = [label for label in example.labels if label != IGNORED]
    return len(tokenizer.decode(ids, skip_special_tokens=True).encode())


def _load(base: BaseModel, adapter: Path | None) -> PreTrainedModel:
    on_gpu = torch.cuda.is_available()
    half = on_gpu and torch.cuda.is_bf16_supported()
    # After full fine-tuning what was published is a model of its own.
    whole = adapter is not None and not (adapter / ADAPTER_CONFIG).exists()
    model = load_model(
        replace(base, location=str(adapter), revision=None, is_local=True) if whole else base,
        dtype=torch.bfloat16 if half else torch.float32,
        device="cuda" if on_gpu else "cpu",
    )
    if adapter is not None and not whole:
        load_adapter(model, adapter)
        if not half:
            # In float32 folding the adapter in changes nothing but the speed; bfloat16 would round.
            merge(model)
    return model.eval()
