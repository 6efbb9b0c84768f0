"""A whole fine-tuning job in the process of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiforge.modeling.load import load_model
from aiforge.modeling.publish import load_adapter
from aiforge.schemas.runs import MetricPoint
from aiforge.storage import Storage
from aiforge.training import attention
from aiforge.training.data import PackedRows
from aiforge.training.engine import LocalEngine
from aiforge.training.loop import evaluate
from aiforge.training.loss import CausalLoss
from aiforge.training.plan import Silence, TrainPlan, TrainResult
from aiforge.training.prepare import Prepared, dataset_files, finish, pack_file, pack_key
from aiforge.training.session import LocalSession
from aiforge.training.worker import run


class Recorder(Silence):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.points: list[MetricPoint] = []
        self.lines: list[str] = []
        self.stages: list[str | None] = []
        self.figures: dict[str, Any] = {}

    def metrics(self, points: Any) -> None:
        self.points.extend(points)

    def log(self, message: str, level: str = "info") -> None:
        self.lines.append(message)

    def progress(self, fraction: float, stage: str | None = None, **metrics: Any) -> None:
        self.stages.append(stage)
        self.figures |= metrics


def prepare(plan: TrainPlan) -> Prepared:
    storage = Storage(plan.storage_uri)
    key = pack_key(storage, plan)
    files = dataset_files(storage, plan.dataset_path)
    return finish(storage, key, [(file, pack_file(storage, plan, key, file)) for file in files])


def fit(plan: TrainPlan, directory: Path, recorder: Recorder | None = None) -> TrainResult:
    return run(plan, prepare(plan), LocalSession(directory), recorder or Recorder())


def evaluation_of(plan: TrainPlan, path: str) -> float:
    """Loss of a published adapter on the held-out rows."""
    prepared = prepare(plan)
    rows = PackedRows.load(Storage(plan.storage_uri), f"{prepared.path}/validation")
    model = load_model(plan.base, attention=attention.register())
    load_adapter(model, Path(Storage(plan.storage_uri).full(path)))
    return evaluate(LocalEngine(CausalLoss(model), lambda named: []), rows, 2)
