"""Random models wide enough for k-quants, and adapters that change what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import make_base

from aiforge.export.plan import ExportReport
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_model
from aiforge.modeling.lora import inject
from aiforge.modeling.publish import publish_adapter

Export = Callable[..., ExportReport]

WIDE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 512,
}
"""Rows that k-quants can have."""


def make_wide(directory: Path, family: str = "llama", **options: Any) -> BaseModel:
    scaled = {"query_pre_attn_scalar": 64} if family in ("gemma2", "gemma3_text") else {}
    return make_base(directory, family, **(WIDE | scaled | options))


def make_adapter(base: BaseModel, directory: Path, size: float = 0.05) -> Path:
    """An adapter that changes what the base model says."""
    model = load_model(base)
    generator = torch.Generator().manual_seed(1)
    for adapter in inject(model, rank=4, alpha=8, targets=None, seed=0).values():
        with torch.no_grad():
            adapter.lora_A.normal_(std=size, generator=generator)
            adapter.lora_B.normal_(std=size, generator=generator)
    return publish_adapter(model, directory, base)
