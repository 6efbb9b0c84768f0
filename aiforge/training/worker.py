"""What each worker of a fine-tuning job does; the same in one plain process as under Ray Train."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from aiforge.schemas.runs import MetricPoint
from aiforge.storage import Storage, train_result_file
from aiforge.training import checkpoint
from aiforge.training.assemble import Assembled, assemble
from aiforge.training.checkpoint import TrainState
from aiforge.training.data import BatchPlan, PackedRows
from aiforge.training.engine import Engine, LocalEngine, OptimizerFactory, adamw
from aiforge.training.loop import Hooks, LoopConfig, LoopResult, train
from aiforge.training.plan import Reporter, TrainPlan, TrainResult
from aiforge.training.prepare import Prepared
from aiforge.training.publication import publish
from aiforge.training.schedule import Schedule

BETAS = (0.9, 0.999)


class Session(Protocol):
    """One worker's place in the group, and where the group keeps its checkpoints."""

    rank: int
    world: int
    local_world: int
    device: torch.device

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""

    def engine(self, module: nn.Module, optimizers: OptimizerFactory, plan: TrainPlan) -> Engine:
        """The engine that holds a module for the group."""

    def restore(self) -> AbstractContextManager[Path | None]:
        """The newest checkpoint as a local directory; ``None`` at the first start."""

    def keep(self, state: TrainState | None, step: int) -> None:
        """Keep a checkpoint; all workers call, rank 0 brings the state."""


def run(plan: TrainPlan, prepared: Prepared, session: Session, reporter: Reporter) -> TrainResult:
    """Train, publish and report; all workers call with the same plan.

    Raises:
        Failure: Training diverged, or what was published is not what was trained.
    """
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // session.local_world))
    report = reporter if session.rank == 0 else None
    storage = Storage(plan.storage_uri)
    if report:
        report.progress(0.0, "loading the model")
    train_rows = PackedRows.load(storage, f"{prepared.path}/train")
    validation = PackedRows.load(storage, f"{prepared.path}/validation")
    assembled = assemble(plan, storage, session, session.device)
    engine = session.engine(assembled.module, lambda named: _optimizers(plan, named), plan)
    data = BatchPlan(train_rows, plan.config.seed, plan.rows_per_step, plan.config.epochs)
    job = _Job(plan, session, report, engine, data, _meta(plan, prepared, assembled))
    start = job.resume()
    if report:
        report.log(_describe(plan, assembled, data, session, start))
    looped = train(
        engine,
        data,
        job.loop_config(),
        Hooks(on_point=job.on_point, on_checkpoint=job.on_checkpoint),
        start=start,
        validation=validation if len(validation) else None,
    )
    if report:
        report.progress(1.0, "publishing")
    path, difference = publish(plan, storage, engine, assembled.model, train_rows)
    result = job.result(looped, path, difference)
    if session.rank == 0:
        storage.write_json(train_result_file(plan.job_id), result.to_dict())
    return result


@dataclass
class _Job:
    """The hooks of one run of the loop."""

    plan: TrainPlan
    session: Session
    report: Reporter | None
    engine: Engine
    data: BatchPlan
    meta: dict[str, Any]
    began: float = field(default_factory=time.monotonic)
    done_before: int = 0
    last_loss: float = 0.0
    eval_loss: float | None = None

    def loop_config(self) -> LoopConfig:
        config = self.plan.config
        schedule = Schedule(config.learning_rate, self.data.steps, config.warmup_steps)
        return LoopConfig(
            schedule,
            micro_batch=config.batch_size,
            checkpoint_every=self.plan.checkpoint_every,
            eval_every=max(1, self.data.steps // config.epochs),
        )

    def resume(self) -> int:
        """Continue from the newest checkpoint, if there is one; the number of steps done."""
        with self.session.restore() as directory:
            if directory is None:
                return 0
            state = checkpoint.load(directory, self.meta)
        self.engine.import_state(state.tensors)
        self.last_loss, self.eval_loss = state.last_loss, state.eval_loss
        self.done_before = state.step
        return state.step

    def on_checkpoint(self, step: int) -> None:
        tensors = self.engine.export_state()
        state = None
        if self.session.rank == 0:
            state = TrainState(step, tensors, self.meta, self.last_loss, self.eval_loss)
        self.session.keep(state, step)

    def on_point(self, point: MetricPoint) -> None:
        self.last_loss = point.loss
        self.eval_loss = point.eval_loss if point.eval_loss is not None else self.eval_loss
        if self.report is None:
            return
        done, total = point.step, self.data.steps
        spent = time.monotonic() - self.began
        remaining = spent / (done - self.done_before) * (total - done)
        self.report.metrics([point])
        self.report.progress(
            done / total,
            "training",
            loss=point.loss,
            learning_rate=point.learning_rate,
            grad_norm=point.grad_norm,
            tokens_per_second=point.tokens_per_second,
            current_step=done,
            total_steps=total,
            current_epoch=min(int(point.epoch) + 1, self.plan.config.epochs),
            total_epochs=self.plan.config.epochs,
            remaining_seconds=remaining,
        )

    def result(self, looped: LoopResult, path: str, difference: float) -> TrainResult:
        return TrainResult(
            steps=looped.steps,
            final_loss=self.last_loss,
            eval_loss=self.eval_loss,
            train_tokens=self.data.rows.token_count * self.plan.config.epochs,
            tokens_per_second=looped.tokens_per_second or None,
            adapter_path=path,
            logit_difference=difference,
        )


def _optimizers(
    plan: TrainPlan, named: list[tuple[str, nn.Parameter]]
) -> list[torch.optim.Optimizer]:
    return [adamw(named, plan.config.weight_decay, BETAS)]


def _meta(plan: TrainPlan, prepared: Prepared, assembled: Assembled) -> dict[str, Any]:
    """What a checkpoint must agree with for a resumed run to be the same run."""
    fixed = {"epochs", "learning_rate", "rank", "warmup_steps", "weight_decay", "method", "seed"}
    return plan.config.model_dump(include=fixed, by_alias=True) | {
        "rowsPerStep": plan.rows_per_step,
        "rows": prepared.key,
        "factors": assembled.factors,
    }


def _describe(
    plan: TrainPlan, assembled: Assembled, data: BatchPlan, session: Session, start: int
) -> str:
    resumed = f", continuing after step {start}" if start else ""
    return (
        f"{plan.config.method} on {plan.base.name}: {assembled.trained} of {assembled.parameters} "
        f"parameters trained, {data.steps} steps of {plan.rows_per_step} rows, "
        f"{session.world} workers, ZeRO stage {plan.config.zero_stage}, "
        f"{torch.get_num_threads()} threads each{resumed}"
    )


class LocalSession:
    """The only worker, in this process, with checkpoints in a directory."""

    rank = 0
    world = 1
    local_world = 1

    def __init__(self, directory: Path, device: torch.device | None = None) -> None:
        self.directory = directory
        self.device = device or torch.device("cpu")

    def gather(self, value: Any) -> list[Any]:
        """The value itself."""
        return [value]

    def engine(self, module: nn.Module, optimizers: OptimizerFactory, plan: TrainPlan) -> Engine:
        """Plain torch."""
        return LocalEngine(module, optimizers, device=self.device)

    @contextmanager
    def restore(self) -> Iterator[Path | None]:
        """The checkpoint that ``keep`` wrote last."""
        yield self.directory if self.directory.exists() else None

    def keep(self, state: TrainState | None, step: int) -> None:
        """Replace the checkpoint."""
        assert state is not None
        checkpoint.save(state, self.directory)
