"""What a job leaves behind, published only after it was found equal to what was trained."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from aiforge.errors import Failure
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_model, load_tokenizer, save_tokenizer
from aiforge.modeling.publish import load_adapter, publish_adapter
from aiforge.storage import Storage, adapter_dir, model_dir
from aiforge.training import attention
from aiforge.training.data import Batch, PackedRows, Row, collate
from aiforge.training.engine import Engine
from aiforge.training.loss import CausalLoss
from aiforge.training.plan import TrainPlan

PROBE_TOKENS = 64
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.5}
"""Largest difference of logits between trained and published model; rounding of the residual
base in bfloat16 alone gives a tenth."""


def publish(
    plan: TrainPlan, storage: Storage, engine: Engine, model: Any, rows: PackedRows
) -> tuple[str, float]:
    """Write the adapter (or the model, after ``full``) and compare it; all workers must call.

    Returns:
        Storage path of what was published and the largest difference of logits; meaningful on
        rank 0 alone, as only that worker writes.

    Raises:
        Failure: The written files do not give the trained model; nothing is published then.
    """
    probe = _probe(rows[0]).to(engine.device)
    engine.training(False)
    with torch.no_grad():
        expected = engine.logits(probe)
    is_full = plan.config.method == "full"
    target = model_dir(plan.job_id) if is_full else adapter_dir(plan.job_id)
    with tempfile.TemporaryDirectory() as scratch, engine.gathered():
        if engine.rank != 0:
            return target, 0.0
        local = Path(scratch) / "published"
        if is_full:
            model.save_pretrained(local)
            save_tokenizer(load_tokenizer(plan.base), local)
        else:
            publish_adapter(model, local, plan.base)
        difference = _compare(plan, local, probe, expected)
        storage.upload(local, target)
    return target, difference


def _compare(plan: TrainPlan, local: Path, probe: Batch, expected: torch.Tensor) -> float:
    dtype = torch.bfloat16 if expected.is_cuda else torch.float32
    is_full = plan.config.method == "full"
    base = BaseModel(plan.base.name, str(local)) if is_full else plan.base
    fresh = load_model(base, dtype=dtype, device=expected.device, attention=attention.register())
    if not is_full:
        load_adapter(fresh, local)
    with torch.no_grad():
        found = CausalLoss(fresh)(probe, logits=True)
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE[dtype]:
        raise Failure(
            f"The published files differ from the trained model by {difference:.3g} in a logit; "
            "they were not published. Run the job again, and report it if it fails again.",
            code="publication_differs",
            difference=difference,
        )
    return difference


def _probe(row: Row) -> Batch:
    length = min(PROBE_TOKENS, int(row.lengths[0]))
    cut = replace(row, input_ids=row.input_ids[:length], targets=row.targets[:length])
    return collate([replace(cut, lengths=row.lengths[:1].clip(max=length))])
