"""Runs of kind ``train``: fine-tune a base model on a dataset."""

from __future__ import annotations

from typing import Any

from aiforge.errors import Failure
from aiforge.modeling.bases import resolve_base_model
from aiforge.schemas.jobs import JobConfig
from aiforge.services.context import RunContext
from aiforge.state import jobs
from aiforge.state.jobs import TrainSpec
from aiforge.state.outcomes import TrainOutcome
from aiforge.storage import dataset_dir
from aiforge.training.older_job import newest_checkpoint
from aiforge.training.plan import TrainPlan, TrainResult
from aiforge.training.ray_trainer import fit


def execute(context: RunContext) -> dict[str, Any]:
    """Train the run's job; its adapter is published and compared before this returns."""
    spec = TrainSpec.model_validate(context.run.spec)
    plan = TrainPlan(
        job_id=context.run.id,
        base=resolve_base_model(spec.base_model, context.settings),
        config=spec.config,
        storage_uri=context.settings.resolved_storage_uri,
        dataset_path=dataset_dir(spec.dataset_id),
        cluster_limits=context.settings.cluster_limits,
        **_taken_up(context, spec.config),
    )
    result = fit(
        plan,
        context.reporter(),
        on_controller=lambda controller: context.on_cancel(controller.abort.remote),
    )
    context.check_cancelled()
    return _outcome(context, result).model_dump(by_alias=False)


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


def _outcome(context: RunContext, result: TrainResult) -> TrainOutcome:
    return TrainOutcome(
        adapter_path=context.storage.uri_of(result.adapter_path),
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
