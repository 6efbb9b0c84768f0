"""What a job leaves behind, published only after it was found equal to what was trained."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from aiforge.errors import Failure
from aiforge.memory import give_memory_back
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_model, load_tokenizer, save_tokenizer
from aiforge.modeling.lora import adapter_state, adapters_of, inject, load_adapter_state
from aiforge.modeling.pissa import apply_factors
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


@dataclass(frozen=True)
class Published:
    """How the published files compare, as largest differences of a logit.

    ``quantization`` is what a base in 4 bits was off by; the files stand on the original base.
    """

    difference: float
    quantization: float | None = None


def publish(
    plan: TrainPlan, storage: Storage, engine: Engine, model: Any, rows: PackedRows
) -> tuple[str, Published]:
    """Write the adapter (or the model, after ``full``) and compare it; all workers must call.

    After training on a base in 4 bits the files are compared to the trained adapters on the base
    in full, since they could not equal both.

    Returns:
        Storage path of what was published and how it compares; meaningful on rank 0 alone, as
        only that worker writes.

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
            return target, Published(0.0)
        local = Path(scratch) / "published"
        if is_full:
            model.save_pretrained(local)
            save_tokenizer(load_tokenizer(plan.base), local)
        else:
            publish_adapter(model, local, plan.base)
        _release_base(model)
        trained = expected
        if plan.config.quantize_base:
            expected = _in_full(plan, model, probe)
        found = _of_files(plan, local, probe)
        difference = _agree(found, expected)
        storage.upload(local, target)
    lost = float((found - trained).abs().max()) if plan.config.quantize_base else None
    return target, Published(difference, lost)


def _release_base(trained: Any) -> None:
    """Make room for a second base; of the trained model only what was trained is still needed."""
    for parameter in trained.parameters():
        is_divided = hasattr(parameter, "ds_id")  # ZeRO stage 3 keeps its own account of these
        if not parameter.requires_grad and not is_divided:
            parameter.data = parameter.data.new_empty(0)
    for _, adapter in adapters_of(trained):
        adapter.packed = None
    # Activations were too small for mappings of their own.
    give_memory_back()


def _of_files(plan: TrainPlan, local: Path, probe: Batch) -> torch.Tensor:
    """Logits of what was written, loaded anew."""
    is_full = plan.config.method == "full"
    fresh = _load(BaseModel(plan.base.name, str(local)) if is_full else plan.base, probe)
    if not is_full:
        load_adapter(fresh, local)
    return _logits(fresh, probe)


def _in_full(plan: TrainPlan, trained: Any, probe: Batch) -> torch.Tensor:
    """Logits of trained adapters on the base as it was before it was quantized."""
    fresh = _load(plan.base, probe)
    config = plan.config
    adapters = inject(
        fresh, rank=config.rank, alpha=config.rank, targets=config.target_modules, seed=None
    )
    initial = {name: adapter.initial for name, adapter in adapters_of(trained)}
    if config.method == "pissa":
        apply_factors(adapters, initial)
    load_adapter_state(fresh, adapter_state(trained))
    return _logits(fresh, probe)


def _load(base: BaseModel, probe: Batch) -> Any:
    device = probe.input_ids.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return load_model(base, dtype=dtype, device=device, attention=attention.register())


@torch.no_grad()
def _logits(model: Any, probe: Batch) -> torch.Tensor:
    logits: torch.Tensor = CausalLoss(model)(probe, logits=True)
    return logits


def _agree(found: torch.Tensor, expected: torch.Tensor) -> float:
    dtype = torch.bfloat16 if expected.is_cuda else torch.float32
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
