"""Small real models that are exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wide_models import Export, make_wide

from aiforge.export.exporter import export_model
from aiforge.export.plan import ExportPlan, ExportReport
from aiforge.modeling.bases import BaseModel


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A random Llama that k-quants apply to; not to be changed."""
    return make_wide(tmp_path_factory.mktemp("models") / "wide")


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
