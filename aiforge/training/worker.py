"""What each worker of a fine-tuning job does; the same in one plain process as under Ray Train."""

from __future__ import annotations

import math
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from pydantic.alias_generators import to_camel
from torch import nn

from aiforge.errors import AIForgeError, Conflict
from aiforge.schemas.runs import MetricPoint
from aiforge.storage import Storage, train_result_file
from aiforge.training import checkpoint
from aiforge.training.assemble import Assembled, assemble
from aiforge.training.checkpoint import TrainState
from aiforge.training.data import BatchPlan, PackedRows
from aiforge.training.engine import Engine, adamw
from aiforge.training.flops import peak_flops
from aiforge.training.loop import EarlyStop, Hooks, LoopConfig, LoopResult, train
from aiforge.training.older_job import FIXED
from aiforge.training.plan import Reporter, TrainPlan, TrainResult
from aiforge.training.prepare import Prepared
from aiforge.training.publication import publish
from aiforge.training.schedule import Schedule
from aiforge.training.session import Session, settling
from aiforge.training.watch import Watchdog, is_out_of_memory, out_of_memory

BETAS = (0.9, 0.999)


def run(plan: TrainPlan, prepared: Prepared, session: Session, reporter: Reporter) -> TrainResult:
    """Train, publish and report; all workers call with the same plan.

    Raises:
        Failure: Training diverged, memory ran out, or what was published is not what was trained.
    """

    def warn(message: str) -> None:
        reporter.log(message, "warning")

    watchdog = Watchdog(session.rank, session.world, session.beats(), warn)
    try:
        with watchdog:
            return _run(plan, prepared, session, reporter, watchdog)
    except AIForgeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(plan.config, f"on rank {session.rank}") from error
        raise


def _run(
    plan: TrainPlan, prepared: Prepared, session: Session, reporter: Reporter, watchdog: Watchdog
) -> TrainResult:
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // session.local_world))
    report = reporter if session.rank == 0 else None
    storage = Storage(plan.storage_uri)
    watchdog.at(0, "loading the model")
    if report:
        report.progress(0.0, "loading the model")
    train_rows = PackedRows.load(storage, f"{prepared.path}/train")
    validation = PackedRows.load(storage, f"{prepared.path}/validation")
    assembled = assemble(plan, storage, session, session.device)
    engine = session.engine(assembled.module, lambda named: _optimizers(plan, named), plan)
    data = BatchPlan(train_rows, plan.config.seed, plan.rows_per_step, plan.config.epochs)
    job = _Job(plan, session, report, engine, data, assembled, _meta(plan, prepared, assembled))
    start = job.resume()
    if report:
        report.log(_describe(plan, assembled, data, session, start))
    with settling(session):
        looped = train(
            engine,
            data,
            job.loop_config(),
            Hooks(job.on_point, job.on_checkpoint, job.on_best, on_phase=watchdog.at),
            start=start,
            validation=validation if len(validation) else None,
            early=job.early,
        )
    job.take_best(looped.steps)
    watchdog.at(looped.steps, "publishing")
    if report:
        report.progress(1.0, "publishing")
    path, published = publish(plan, storage, engine, assembled.model, train_rows)
    if report and published.quantization is not None:
        report.log(
            "On the original base a logit differs by up to "
            f"{published.quantization:.3g} from the 4-bit base that was trained on"
        )
    result = job.result(looped, path, published.difference)
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
    assembled: Assembled
    meta: dict[str, Any]
    began: float = field(default_factory=time.monotonic)
    done_before: int = 0
    last_loss: float = math.nan
    eval_loss: float | None = None
    memory: int | None = None
    best_step: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    utilizations: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.early = EarlyStop(self.plan.config.early_stopping)

    def loop_config(self) -> LoopConfig:
        config, device = self.plan.config, self.session.device
        return LoopConfig(
            Schedule(config.learning_rate, self.data.steps, config.warmup_steps, config.schedule),
            micro_batch=config.batch_size,
            checkpoint_every=self.plan.checkpoint_every,
            eval_every=config.eval_every or max(1, self.data.steps // config.epochs),
            flops=self.assembled.flops,
            peak=peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None,
        )

    def resume(self) -> int:
        """Continue from the newest checkpoint, if there is one; the number of steps done."""
        with self.session.restore() as directory:
            if directory is not None:
                return self._continue(checkpoint.load(directory, self.meta))
        if self.plan.start_from is None:
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            path = Storage(self.plan.storage_uri).download(
                self.plan.start_from, Path(scratch) / "checkpoint"
            )
            older = checkpoint.load(path)
        return self._take_up(older)

    def _continue(self, state: TrainState) -> int:
        self.engine.import_state(state.tensors)
        self.last_loss, self.eval_loss = state.last_loss, state.eval_loss
        if state.best_loss is not None:
            self.early.best, self.early.worse = state.best_loss, state.worse
        self.best_step, self.best = state.best_step, state.best
        self.done_before = state.step
        return state.step

    def _take_up(self, older: TrainState) -> int:
        """Go on where another job stopped, if it was the same run; else start from its weights."""
        for key in ("factors", *map(to_camel, FIXED)):
            if older.meta.get(key) != self.meta[key]:
                raise Conflict(
                    f"The checkpoint that resumeFrom names was trained with another {key}; "
                    "start a new job without resumeFrom.",
                    code="checkpoint_mismatch",
                    field="resumeFrom",
                )
        differing = sorted(key for key in self.meta if older.meta.get(key) != self.meta[key])
        stopped = EarlyStop(self.early.patience, worse=older.worse).is_due
        if not differing and older.step < self.data.steps and not stopped:
            self._say(f"Continues exactly where the older job stopped, after step {older.step}")
            return self._continue(older)
        why = f"it differs in {', '.join(differing)}" if differing else "that job had finished"
        self._say(f"Starts from the older job's weights with a new schedule, since {why}")
        self.engine.import_state(
            {n: _fresh(_with(t, older.best.get(n))) for n, t in older.tensors.items()}
        )
        return 0

    def _say(self, line: str) -> None:
        if self.report:
            self.report.log(line)

    def on_checkpoint(self, step: int) -> None:
        tensors = self.engine.export_state()
        state = None
        if self.session.rank == 0:
            best = self.early.best if math.isfinite(self.early.best) else None
            seen = (self.last_loss, self.eval_loss, best, self.early.worse)
            state = TrainState(step, tensors, self.meta, *seen, self.best_step, self.best)
        self.session.keep(state, step)

    def on_best(self, step: int) -> None:
        state = self.engine.export_state()
        self.best_step, self.best = step, {n: kinds["master"] for n, kinds in state.items()}

    def take_best(self, steps: int) -> None:
        """Go back to the weights that evaluated best, where early stopping has looked for them."""
        if not self.best:
            return
        if self.best_step != steps:
            state = self.engine.export_state()
            self.engine.import_state({n: _with(t, self.best[n]) for n, t in state.items()})
        self.eval_loss = self.early.best
        self._say(
            f"Publishes the weights after step {self.best_step} of {steps}, whose evaluation "
            f"loss of {self.early.best:.4f} is the lowest"
        )

    def on_point(self, point: MetricPoint) -> None:
        self.last_loss = point.loss
        self.eval_loss = point.eval_loss if point.eval_loss is not None else self.eval_loss
        self.memory = point.memory_bytes
        self.utilizations += [] if point.mfu is None else [point.mfu]
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
            mfu=point.mfu,
            memory_bytes=point.memory_bytes,
            eval_loss=self.eval_loss,
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
            stopped_early=looped.steps < self.data.steps,
            mfu=fmean(self.utilizations) if self.utilizations else None,
            peak_memory_bytes=self.memory,
        )


def _optimizers(
    plan: TrainPlan, named: list[tuple[str, nn.Parameter]]
) -> list[torch.optim.Optimizer]:
    return [adamw(named, plan.config.weight_decay, BETAS)]


def _with(tensors: dict[str, torch.Tensor], master: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """A parameter's state with another value, where there is one."""
    return tensors if master is None else tensors | {"master": master}


def _fresh(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A parameter's state with its value, as if no step had been taken."""
    return {
        key: value if key == "master" else torch.zeros_like(value) for key, value in tensors.items()
    }


def _meta(plan: TrainPlan, prepared: Prepared, assembled: Assembled) -> dict[str, Any]:
    """What a checkpoint must agree with for a resumed run to be the same run."""
    fixed = {
        *("epochs", "learning_rate", "rank", "warmup_steps", "weight_decay", "method", "seed"),
        *("schedule", "target_modules", "quantize_base", "eval_every", "early_stopping"),
    }
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
        f"{session.world} workers, ZeRO stage {plan.zero_stage}, "
        f"{torch.get_num_threads()} threads each{resumed}"
    )
