"""The training loop: the same for pretraining in one process and fine-tuning on many workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from aiforge.errors import Cancelled, Failure
from aiforge.schemas.runs import MetricPoint
from aiforge.training.data import BatchPlan, PackedRows
from aiforge.training.engine import Engine
from aiforge.training.schedule import Schedule


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """What happens around a step; every worker calls every hook at the same step."""

    on_point: Callable[[MetricPoint], None] = lambda point: None
    """One step was measured."""

    on_checkpoint: Callable[[int], None] = lambda step: None
    """The state after ``step`` steps is to be kept."""

    should_stop: Callable[[], bool] = _never
    """Whether the run is to end here; all workers must answer alike."""


@dataclass(frozen=True)
class LoopConfig:
    """How the loop runs; a period of 0 means never."""

    schedule: Schedule
    micro_batch: int
    """Rows that one worker takes at a time."""

    checkpoint_every: int = 0
    eval_every: int = 0


@dataclass
class LoopResult:
    """What the loop did, from its first step in this process."""

    steps: int
    final_loss: float
    tokens: int = 0
    targets: int = 0
    seconds: float = 0.0
    eval_loss: float | None = None
    losses: list[float] = field(default_factory=list)

    @property
    def tokens_per_second(self) -> float:
        """Tokens that are not padding, over all workers."""
        return self.tokens / self.seconds if self.seconds else 0.0


def train(
    engine: Engine,
    data: BatchPlan,
    config: LoopConfig,
    hooks: Hooks,
    *,
    start: int = 0,
    validation: PackedRows | None = None,
) -> LoopResult:
    """Train from step ``start`` to the end of the schedule.

    Raises:
        Failure: ``training_diverged`` when a loss or a gradient is not finite.
        Cancelled: ``hooks.should_stop`` answered yes; the last checkpoint stays.
    """
    result = LoopResult(steps=start, final_loss=math.nan)
    engine.training(True)
    for step in range(start, config.schedule.steps):
        if hooks.should_stop():
            raise Cancelled(f"Training was stopped after {step} of {config.schedule.steps} steps.")
        began = time.perf_counter()
        loss, norm, tokens = _step(engine, data, config, step)
        seconds = time.perf_counter() - began
        _account(result, data, step, loss, tokens, seconds)
        if validation is not None and _due(step + 1, config.eval_every, config.schedule.steps):
            result.eval_loss = evaluate(engine, validation, config.micro_batch)
            evaluated = True
        else:
            evaluated = False
        hooks.on_point(
            MetricPoint(
                step=step + 1,
                loss=loss,
                learning_rate=config.schedule.at(step),
                grad_norm=norm,
                epoch=data.epoch(step + 1),
                tokens_per_second=tokens / seconds,
                eval_loss=result.eval_loss if evaluated else None,
            )
        )
        if _due(step + 1, config.checkpoint_every, config.schedule.steps):
            hooks.on_checkpoint(step + 1)
    return result


@torch.no_grad()
def evaluate(engine: Engine, rows: PackedRows, micro_batch: int) -> float:
    """Mean cross-entropy per trained target, over all workers' shares of the rows."""
    engine.training(False)
    plan = BatchPlan(rows, seed=0, rows_per_step=len(rows))
    total = torch.zeros((), dtype=torch.float64)
    for batch in plan.micro_batches(0, engine.rank, engine.world, micro_batch):
        total += engine.loss(batch.to(engine.device)).double().cpu()
    engine.training(True)
    return float(engine.sum(total)) / max(1, int(rows.target_counts.sum()))


def _step(
    engine: Engine, data: BatchPlan, config: LoopConfig, step: int
) -> tuple[float, float, int]:
    """One update; its mean loss, gradient norm and tokens, over all workers."""
    # Whatever is drawn in a step follows from the step, so that a resumed run draws the same.
    torch.manual_seed(((data.seed << 32) + step) * 65536 + engine.rank)
    # Gradients are averaged over the workers, so the mean over targets needs the factor back.
    scale = engine.world / max(1, data.target_count(step))
    sums = torch.zeros(2, dtype=torch.float64)
    batches = list(data.micro_batches(step, engine.rank, engine.world, config.micro_batch))
    for number, batch in enumerate(batches, start=1):
        loss = engine.loss(batch.to(engine.device)) * scale
        engine.backward(loss, last=number == len(batches))
        sums += torch.tensor([float(loss.detach()), batch.tokens], dtype=torch.float64)
    total, tokens = engine.sum(sums).tolist()
    mean = total / engine.world
    if not math.isfinite(mean):
        raise _diverged("loss", step)
    norm = engine.step(config.schedule.at(step))
    if not math.isfinite(norm):
        raise _diverged("gradient norm", step)
    return mean, norm, int(tokens)


def _account(
    result: LoopResult, data: BatchPlan, step: int, loss: float, tokens: int, seconds: float
) -> None:
    result.steps = step + 1
    result.final_loss = loss
    result.losses.append(loss)
    result.tokens += tokens
    result.targets += data.target_count(step)
    result.seconds += seconds


def _due(step: int, period: int, steps: int) -> bool:
    return period > 0 and (step % period == 0 or step == steps)


def _diverged(what: str, step: int) -> Failure:
    return Failure(
        f"Training diverged: the {what} of step {step + 1} is not finite. "
        "Lower the learning rate, or add warm-up steps.",
        code="training_diverged",
        step=step + 1,
    )
