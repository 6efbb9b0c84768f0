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
from aiforge.training.flops import StepFlops
from aiforge.training.schedule import Schedule
from aiforge.training.watch import peak_memory


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """What happens around a step; every worker calls every hook at the same step."""

    on_point: Callable[[MetricPoint], None] = lambda point: None
    """One step was measured."""

    on_checkpoint: Callable[[int], None] = lambda step: None
    """The state after ``step`` steps is to be kept."""

    on_best: Callable[[int], None] = lambda step: None
    """Early stopping saw no better loss before than that of the weights after ``step`` steps."""

    should_stop: Callable[[], bool] = _never
    """Whether the run is to end here; all workers must answer alike."""

    on_phase: Callable[[int, str], None] = lambda step, phase: None
    """The worker begins something else; the watchdog tells by it who holds the others up."""


@dataclass(frozen=True)
class LoopConfig:
    """How the loop runs; a period of 0 means never."""

    schedule: Schedule
    micro_batch: int
    """Rows that one worker takes at a time."""

    checkpoint_every: int = 0
    eval_every: int = 0
    flops: StepFlops | None = None
    """What a step costs; gives the utilization where ``peak`` is known."""

    peak: float | None = None
    """FLOP/s that one worker's device could do at most."""


@dataclass
class EarlyStop:
    """Ends training after ``patience`` evaluations without a better loss; never where it is None.

    ``best`` and ``worse`` belong into a checkpoint: a resumed run must stop where it would have.
    """

    patience: int | None
    best: float = math.inf
    worse: int = 0

    @property
    def is_due(self) -> bool:
        """Whether training is to end."""
        return self.patience is not None and self.worse >= self.patience

    def saw(self, loss: float) -> bool:
        """An evaluation was made; whether it is the best so far."""
        better = loss < self.best
        self.worse = 0 if better else self.worse + 1
        self.best = min(self.best, loss)
        return better


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
    early: EarlyStop | None = None,
) -> LoopResult:
    """Train from step ``start`` to the end of the schedule, or until ``early`` says so.

    Raises:
        Failure: ``training_diverged`` when a loss or a gradient is not finite.
        Cancelled: ``hooks.should_stop`` answered yes; the last checkpoint stays.
    """
    result = LoopResult(steps=start, final_loss=math.nan)
    early = early or EarlyStop(None)
    steps = config.schedule.steps
    engine.training(True)
    for step in range(start, steps):
        if early.is_due:
            break
        if hooks.should_stop():
            raise Cancelled(f"Training was stopped after {step} of {steps} steps.")
        began = time.perf_counter()
        measured = _step(engine, data, config, hooks, step)
        seconds = time.perf_counter() - began
        _account(result, data, step, measured, seconds)
        eval_loss = None
        if validation is not None and _due(step + 1, config.eval_every, steps):
            hooks.on_phase(step, "evaluating")
            eval_loss = result.eval_loss = evaluate(engine, validation, config.micro_batch)
            if early.saw(eval_loss) and early.patience is not None:
                hooks.on_best(step + 1)
        hooks.on_point(_point(engine, data, config, step, measured, seconds, eval_loss))
        if _due(step + 1, config.checkpoint_every, steps) or early.is_due:
            hooks.on_phase(step, "writing a checkpoint")
            hooks.on_checkpoint(step + 1)
    return result


def _point(
    engine: Engine,
    data: BatchPlan,
    config: LoopConfig,
    step: int,
    measured: _Measured,
    seconds: float,
    eval_loss: float | None,
) -> MetricPoint:
    mfu = None
    if config.flops is not None and config.peak is not None:
        needed = config.flops.of(data.document_lengths(step), data.target_count(step))
        mfu = needed / (seconds * config.peak * engine.world)
    return MetricPoint(
        step=step + 1,
        loss=measured.loss,
        learning_rate=config.schedule.at(step),
        grad_norm=measured.norm,
        epoch=data.epoch(step + 1),
        tokens_per_second=measured.tokens / seconds,
        eval_loss=eval_loss,
        mfu=mfu,
        memory_bytes=measured.memory,
    )


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


@dataclass(frozen=True)
class _Measured:
    """One update, over all workers; ``memory`` is the largest peak of any of them, in bytes."""

    loss: float
    norm: float
    tokens: int
    memory: int


def _step(
    engine: Engine, data: BatchPlan, config: LoopConfig, hooks: Hooks, step: int
) -> _Measured:
    # Whatever is drawn in a step follows from the step, so that a resumed run draws the same.
    torch.manual_seed(((data.seed << 32) + step) * 65536 + engine.rank)
    hooks.on_phase(step, "reading its rows")
    # Gradients are averaged over the workers, so the mean over targets needs the factor back.
    scale = engine.world / max(1, data.target_count(step))
    batches = list(data.micro_batches(step, engine.rank, engine.world, config.micro_batch))
    hooks.on_phase(step, "computing")
    own = torch.zeros((), dtype=torch.float64, device=engine.device)
    for number, batch in enumerate(batches, start=1):
        loss = engine.loss(batch.to(engine.device)) * scale
        engine.backward(loss, last=number == len(batches))
        own += loss.detach()
    hooks.on_phase(step, "averaging the loss")
    sums = torch.zeros(2 + engine.world, dtype=torch.float64)
    sums[0], sums[1] = own.cpu(), sum(batch.tokens for batch in batches)
    sums[2 + engine.rank] = peak_memory(engine.device)
    total, tokens, *memories = engine.sum(sums).tolist()
    mean = total / engine.world
    if not math.isfinite(mean):
        raise _diverged("loss", step)
    hooks.on_phase(step, "updating")
    norm = engine.step(config.schedule.at(step))
    if not math.isfinite(norm):
        raise _diverged("gradient norm", step)
    return _Measured(mean, norm, int(tokens), int(max(memories)))


def _account(
    result: LoopResult, data: BatchPlan, step: int, measured: _Measured, seconds: float
) -> None:
    result.steps = step + 1
    result.final_loss = measured.loss
    result.losses.append(measured.loss)
    result.tokens += measured.tokens
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
