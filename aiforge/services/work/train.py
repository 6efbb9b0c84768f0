"""Runs of kind ``train``: fine-tune a base model on a dataset, and measure what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiforge.errors import Failure
from aiforge.evaluation.ray_validate import measure_perplexity
from aiforge.modeling.bases import resolve_base_model
from aiforge.schemas.jobs import JobConfig, ValidationMetrics
from aiforge.services.context import RunContext
from aiforge.state import jobs
from aiforge.state.jobs import TrainSpec
from aiforge.state.outcomes import TrainOutcome
from aiforge.storage import dataset_dir
from aiforge.training.older_job import newest_checkpoint
from aiforge.training.plan import TrainPlan, TrainResult
from aiforge.training.ray_trainer import fit

if TYPE_CHECKING:
    from aiforge.evaluation.perplexity import Perplexity

TRAINING_SHARE = 0.92
"""Part of a run's progress; measuring is the rest."""


def execute(context: RunContext) -> dict[str, Any]:
    """Train the run's job; its adapter is published and compared before this returns."""
    spec = TrainSpec.model_validate(context.run.spec)
    plan = TrainPlan(
        job_id=context.run.id,
        base=resolve_base_model(spec.base_model, context.settings),
        config=spec.config,
        storage_uri=context.settings.resolved_storage_uri,
        dataset_path=dataset_dir(spec.dataset_id),
        **_taken_up(context, spec.config),
    )
    result = fit(
        plan,
        context.reporter(TRAINING_SHARE),
        on_controller=lambda controller: context.on_cancel(controller.abort.remote),
    )
    context.check_cancelled()
    return _outcome(context, plan, result).model_dump(by_alias=False)


def _taken_up(context: RunContext, config: JobConfig) -> dict[str, Any]:
    """Where a plan starts that takes up an older job: its checkpoint, on its factors."""
    if config.resume_from is None:
        return {}
    older = context.state.call_sync(jobs.get, config.resume_from)
    checkpoint = newest_checkpoint(context.storage, older.id)
    if checkpoint is None:
        raise Failure(
            f"The checkpoint of {older.id} is gone since this job was queued; "
            "start a new one without resumeFrom.",
            code="no_checkpoint",
        )
    seed = context.state.call_sync(jobs.factor_seed, older.id)
    return {"start_from": checkpoint, "factor_seed": seed}


def _outcome(context: RunContext, plan: TrainPlan, result: TrainResult) -> TrainOutcome:
    adapter = context.storage.uri_of(result.adapter_path)
    outcome = TrainOutcome(
        adapter_path=adapter,
        steps=result.steps,
        final_loss=result.final_loss,
        train_tokens=result.train_tokens,
        tokens_per_second=result.tokens_per_second,
        eval_loss=result.eval_loss,
        logit_difference=result.logit_difference,
        stopped_early=result.stopped_early,
        mfu=result.mfu,
        peak_memory_bytes=result.peak_memory_bytes,
    )
    rows = f"{plan.dataset_path}/validation"
    if not context.storage.names(rows):
        context.log("The dataset holds nothing out, so perplexity is not measured", "warning")
        return outcome
    context.progress(TRAINING_SHARE, "measuring perplexity on held-out files")
    before, after = measure_perplexity(
        plan.base, [None, result.adapter_path], rows, plan.max_length, plan.storage_uri
    )
    context.log(
        f"Perplexity on held-out files: {before.perplexity:.3f} before, {after.perplexity:.3f} "
        f"after ({after.tokens} tokens)"
    )
    outcome.baseline, outcome.validation = _metrics(before), _metrics(after)
    return outcome


def _metrics(measured: Perplexity) -> ValidationMetrics:
    return ValidationMetrics(
        perplexity=measured.perplexity,
        bits_per_byte=measured.bits_per_byte,
        scored_tokens=measured.tokens,
    )
