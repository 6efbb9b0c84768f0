"""Attention within each document of a packed sequence.

Registered with transformers under ``NAME``: a model whose attention implementation it is takes
``document_lengths`` as one more keyword argument, gets no mask, and no token sees another
document. On CUDA one variable-length FlashAttention call does all documents; elsewhere one
scaled-dot-product call per document does no work outside the documents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

NAME = "aiforge_documents"


def register() -> str:
    """Make the implementation known to transformers and return its name."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, document_attention)
    return NAME


def document_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    document_lengths: tuple[int, ...] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention by document, in the shape that transformers expects.

    Args:
        query: (1, heads, T, width); ``key`` and ``value`` (1, key-value heads, T, width).
        document_lengths: Lengths that add up to T; one document of T tokens when absent.
        scaling: Factor on the scores; 1/√width when absent.
        sliding_window: How many positions back a token sees, itself included.
        softcap: Bound on the scores, ``softcap · tanh(score / softcap)`` (Gemma 2).

    Returns:
        (1, T, heads, width), and no weights.
    """
    lengths = document_lengths or (query.shape[2],)
    if query.is_cuda and softcap is None and query.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query, key, value, lengths, scaling, sliding_window), None
    queries, keys, values = (
        torch.split(tensor, list(lengths), dim=2) for tensor in (query, key, value)
    )
    outputs = [
        _one(q, k, v, scaling, sliding_window, softcap, dropout)
        for q, k, v in zip(queries, keys, values, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
    dropout: float,
) -> torch.Tensor:
    length = query.shape[2]
    if softcap is not None:
        return _capped(query, key, value, scaling, window, softcap, dropout)
    banded = window is not None and window < length
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=_visible(length, window, query.device) if banded else None,
        is_causal=not banded,
        scale=scaling,
        dropout_p=dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _capped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float,
    dropout: float,
) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[3] ** -0.5)
    scores = softcap * torch.tanh(scores / softcap)
    visible = _visible(query.shape[2], window, query.device)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(-1, dtype=torch.float32)
    return functional.dropout(weights.to(value.dtype), dropout) @ value


def _visible(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    visible = distance >= 0
    return visible if window is None else visible & (distance < window)


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: tuple[int, ...],
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor((0, *lengths), dtype=torch.int32).cumsum(0, dtype=torch.int32)
    ends = ends.to(query.device, non_blocking=True)
    longest = max(lengths)
    q, k, v = (tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value))
    output = varlen_attn(
        q,
        k,
        v,
        ends,
        ends,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=True,
    )
    assert isinstance(output, torch.Tensor)
    return output[None]
