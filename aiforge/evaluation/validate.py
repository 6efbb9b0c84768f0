"""Load the models that are compared, and score dataset rows with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aiforge.errors import Failure
from aiforge.evaluation.perplexity import Perplexity, Progress, score
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.generate import remove_adapters
from aiforge.modeling.load import load_model
from aiforge.modeling.prompts import IGNORED, Encoded, encode_example
from aiforge.modeling.publish import load_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ADAPTER_CONFIG = "adapter_config.json"
MAX_WINDOWS = 16
"""An example longer than so many windows is cut; it would outweigh all others."""


class Models:
    """The models that share a base, one at a time; the base is loaded once."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self._model: PreTrainedModel | None = None

    def get(self, adapter: Path | None) -> PreTrainedModel:
        """The model that an adapter makes of the base; what was given before is that one too.

        Args:
            adapter: Directory of a published adapter, or of the whole model that full fine-tuning
                gives; ``None`` is the base itself.

        Raises:
            Failure: The model or the adapter cannot be loaded.
        """
        if adapter is not None and not (adapter / ADAPTER_CONFIG).exists():
            # A model of its own; the base makes room for it.
            self._model = None
            return _load(replace(self.base, location=str(adapter), revision=None, is_local=True))
        if self._model is None:
            self._model = _load(self.base)
        remove_adapters(self._model)
        if adapter is not None:
            load_adapter(self._model, adapter)
        return self._model.eval()


def _load(base: BaseModel) -> PreTrainedModel:
    return load_model(base, dtype=dtype(), device="cuda" if torch.cuda.is_available() else "cpu")


def dtype() -> torch.dtype:
    """What models are measured in: bfloat16 where the device has it, else float32."""
    half = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if half else torch.float32


def score_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Iterable[Mapping[str, Any]],
    window: int,
    progress: Progress | None = None,
) -> Perplexity:
    """Perplexity of a model on the completions of dataset rows.

    All models of a base see the same tokens: prompts are made by its tokenizer and chat template,
    and rows longer than the window are scored in overlapping ones.

    Args:
        rows: With ``instruction``, ``input`` and ``output``.
        window: In tokens, the model's context length at the most.
        progress: Called with the share done, 0 to 1; may raise to stop.

    Raises:
        Failure: Nothing can be scored.
    """
    encoded = [encode_example(tokenizer, row, window * MAX_WINDOWS) for row in rows]
    examples = [example for example in encoded if example is not None]
    if not examples:
        raise Failure(
            "No row has a completion to score; build the dataset from sources with more content.",
            code="nothing_to_score",
        )
    result = score(
        model,
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
