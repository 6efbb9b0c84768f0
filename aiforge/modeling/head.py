"""A causal language model in two halves, so that logits are made only where they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

LOGITS_PER_CHUNK = 1 << 26
"""Logits that exist at one time: 256 MiB in float32."""


def hidden_states(model: nn.Module, input_ids: Tensor, **inputs: Any) -> Tensor:
    """Final hidden states of shape (batch, length, hidden), after the last norm.

    Args:
        model: A causal language model of a supported family.
        input_ids: Shape (batch, length).
        **inputs: Further arguments of the decoder, ``position_ids`` for example.
    """
    decoder: Any = model.model
    states: Tensor = decoder(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
    return states


def project(model: nn.Module, hidden: Tensor) -> Tensor:
    """Logits of shape (…, vocabulary) for hidden states of shape (…, hidden).

    Applies Gemma's soft cap, which transformers keeps in the model's forward method.
    """
    head: Any = model.lm_head
    logits: Tensor = head(hidden)
    cap = getattr(model.config, "final_logit_softcapping", None)
    return (logits / cap).tanh() * cap if cap else logits


def row_chunks(rows: int, vocabulary: int) -> Iterator[slice]:
    """Slices over rows whose logits together stay below ``LOGITS_PER_CHUNK``."""
    size = max(1, LOGITS_PER_CHUNK // vocabulary)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
