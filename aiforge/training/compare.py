"""What pretraining was worth: the same fine-tuning from the model and from random weights."""

from __future__ import annotations

import importlib.util
import logging
import math
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from aiforge.errors import NotFound
from aiforge.training.data import BatchPlan, PackedRows, Row, document, pack
from aiforge.training.engine import LocalEngine, adamw
from aiforge.training.loop import Hooks, LoopConfig, evaluate, train
from aiforge.training.loss import CausalLoss
from aiforge.training.schedule import Schedule
from aiforge.training.stdlib_corpus import SourceText, read_files

log = logging.getLogger("aiforge.pretrain")

PACKAGE = "httpx"
"""Sources that no part of pretraining has seen; installed wherever the platform is."""

HELD_OUT_ONE_IN = 5
PIECE = 512
ROW = 1024
ROWS_PER_STEP = 4
STEPS = 40
LEARNING_RATES = (1e-3, 3e-3, 1e-2)


def compare(directory: Path, steps: int = STEPS) -> dict[str, Any]:
    """Held-out losses after ``steps`` steps on ``PACKAGE``, all weights trained.

    Each start gets the learning rate of ``LEARNING_RATES`` that suits it best.

    Args:
        directory: The model and its tokenizer.
        steps: Optimizer steps of each run.
    """
    sources = _sources()
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    held_out = PackedRows.of(_documents(tokenizer, sources[::HELD_OUT_ONE_IN]))
    kept = [item for index, item in enumerate(sources) if index % HELD_OUT_ONE_IN]
    rows = PackedRows.of(pack(_documents(tokenizer, kept), ROW))
    epochs = math.ceil(steps * ROWS_PER_STEP / len(rows))
    data = BatchPlan(rows, seed=0, rows_per_step=ROWS_PER_STEP, epochs=epochs)
    before = evaluate(_engine(directory, True), held_out, 1)
    figures: dict[str, Any] = {
        "package": PACKAGE,
        "steps": steps,
        "tokens_per_step": round(rows.token_count / len(rows) * ROWS_PER_STEP),
        "held_out_tokens": int(held_out.target_counts.sum()),
        "before": before,
    }
    for name, pretrained in (("from_model", True), ("from_random", False)):
        losses = {
            rate: _run(_engine(directory, pretrained), data, held_out, rate, steps)
            for rate in LEARNING_RATES
        }
        best = min(losses, key=lambda rate: losses[rate])
        figures[name] = {"loss": losses[best], "learning_rate": best}
        log.info("%s: %s", name, losses)
    return figures


def _run(
    engine: LocalEngine, data: BatchPlan, held_out: PackedRows, rate: float, steps: int
) -> float:
    config = LoopConfig(Schedule(rate, steps, warmup=4), micro_batch=1)
    train(engine, data, config, Hooks())
    return evaluate(engine, held_out, 1)


def _engine(directory: Path, pretrained: bool) -> LocalEngine:
    from transformers import LlamaConfig, LlamaForCausalLM

    from aiforge.training import attention

    name = attention.register()
    torch.manual_seed(0)
    if pretrained:
        model = LlamaForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation=name
        )
    else:
        config = LlamaConfig.from_pretrained(directory, attn_implementation=name)
        model = LlamaForCausalLM(config).float()
    return LocalEngine(CausalLoss(model), lambda named: [adamw(named, 0.0, (0.9, 0.95))])


def _sources() -> list[SourceText]:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise NotFound(f"The package {PACKAGE} is not installed.", code="package_not_found")
    return read_files(Path(spec.origin).parent)


def _documents(tokenizer: Tokenizer, sources: list[SourceText]) -> list[Row]:
    ids = (tokenizer.encode(source.text).ids for source in sources)
    pieces = (item[start : start + PIECE] for item in ids for start in range(0, len(item), PIECE))
    return [document(piece, piece) for piece in pieces if len(piece) > 1]
