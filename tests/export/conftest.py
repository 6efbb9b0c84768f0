"""Small real models that are exported, and trained jobs on a real state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aiforge.export.exporter import export_model
from aiforge.export.plan import ExportPlan, ExportReport
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_model
from aiforge.modeling.lora import inject
from aiforge.modeling.publish import publish_adapter

tiny_models = pytest.importorskip("tiny_models")

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
    base: BaseModel = tiny_models.make_base(directory, family, **(WIDE | scaled | options))
    return base


def make_adapter(base: BaseModel, directory: Path, size: float = 0.05) -> Path:
    """An adapter that changes what the base model says."""
    model = load_model(base)
    generator = torch.Generator().manual_seed(1)
    for adapter in inject(model, rank=4, alpha=8, targets=None, seed=0).values():
        with torch.no_grad():
            adapter.lora_A.normal_(std=size, generator=generator)
            adapter.lora_B.normal_(std=size, generator=generator)
    return publish_adapter(model, directory, base)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A random Llama that k-quants apply to; not to be changed."""
    return make_wide(tmp_path_factory.mktemp("models") / "wide")


Export = Callable[..., ExportReport]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    directory = tmp_path / "export"
    directory.mkdir()
    return directory


@pytest.fixture
def export(workspace: Path) -> Export:
    """Exports a base model into ``workspace``."""

    def do(base: BaseModel, quantization: str = "f16", **changes: Any) -> ExportReport:
        plan = ExportPlan(
            base=base,
            model=Path(base.location),
            adapter=None,
            format="gguf",
            quantization=quantization,
            name="project",
            workspace=workspace,
            threads=1,
        )
        return export_model(replace(plan, **changes), lambda fraction, stage=None: None)

    return do
