"""Proposes to train again where the active model does not know code that changed."""

from __future__ import annotations

from aiforge.errors import NotFound
from aiforge.modeling.bases import resolve_base_model
from aiforge.schemas.common import new_id
from aiforge.schemas.drifts import Drift, LossEstimate
from aiforge.schemas.missions import (
    MissionPolicy,
    Priority,
    Reasoning,
    RecommendedAction,
    Watcher,
)
from aiforge.schemas.models import Model
from aiforge.schemas.runs import Resources, Run, RunStatus
from aiforge.services import preflight
from aiforge.services.confidence import Estimate, of_difference
from aiforge.services.context import Services
from aiforge.services.watchers import charts
from aiforge.services.watchers.base import Finding, Found, Quiet
from aiforge.state import drifts, models, origins, track_record
from aiforge.state.drifts import DriftSpec
from aiforge.state.origins import Origin
from aiforge.state.proposals import Expectation, Proposal
from aiforge.storage import adapter_dir, model_dir

METRIC = "perplexity on changed code"


class Retrain:
    """After a sync that brought new commits, measures the active model on what changed.

    The effect is the loss per token on examples about changed chunks minus that on the held-out
    examples of the model's own dataset, which it does not know either: what is left is what the
    changes made unfamiliar.
    """

    name: Watcher = "retrain"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        try:
            active = await services.state.call(models.active, project)
        except NotFound:
            return Quiet("No model of the project is active.")
        origin = await services.state.call(origins.of_job, active.job_id)
        if origin is None:
            return Quiet(f"The dataset of {active.name} is gone.")
        if not origin.moved:
            return Quiet(f"{active.name} was trained on the newest commits.")
        spec = drift_spec(active, origin, policy)
        run = await services.state.call(
            drifts.create, spec, resources(services, active), new_id("req")
        )
        if run.status is not RunStatus.COMPLETED:
            return None
        drift = drifts.result(run)
        if drift.changed is None or drift.held_out is None:
            return Quiet(drift.unmeasured or "Nothing could be measured.")
        earlier = await services.state.call(track_record.relative_changes, project, self.name)
        return _found(active, origin, run, drift, policy, earlier)


def drift_spec(model: Model, origin: Origin, policy: MissionPolicy) -> DriftSpec:
    """What to measure of a model whose sources have moved on since its dataset was built."""
    whole = model.method == "full"
    return DriftSpec(
        model_id=model.id,
        base_model=model.base_model,
        adapter_path=(model_dir if whole else adapter_dir)(model.job_id),
        dataset_id=origin.dataset_id,
        chunk_count=origin.chunk_count,
        before=origin.before,
        after=origin.after,
        raft=origin.generate.raft,
        training=origin.train.config,
        min_chunks=policy.min_changed_chunks,
    )


def resources(services: Services, model: Model) -> Resources:
    """What a measurement occupies."""
    base = resolve_base_model(model.base_model, services.settings)
    return preflight.measure_resources(base, services.gpus)


def _found(
    active: Model,
    origin: Origin,
    run: Run,
    drift: Drift,
    policy: MissionPolicy,
    earlier: list[float],
) -> Found:
    assert drift.changed is not None
    assert drift.held_out is not None
    changed, held_out = _estimate(drift.changed), _estimate(drift.held_out)
    effect = changed.mean - held_out.mean
    expected, basis = _expected(drift.changed, drift.held_out, earlier)
    evidence = {
        "metric": METRIC,
        "perplexityChanged": round(drift.changed.perplexity, 4),
        "perplexityHeldOut": round(drift.held_out.perplexity, 4),
        "effect": round(effect, 5),
        "effectInterval": [round(bound, 5) for bound in _interval(changed, held_out)],
        "examples": {"changed": changed.samples, "heldOut": held_out.samples},
        "changedChunks": drift.changed_chunks,
        "changedShare": round(drift.changed_share, 4),
        "changedFiles": drift.changed_files[:100],
        "commits": [commit.model_dump() for commit in drift.commits[:100]],
        "revisions": origin.moved,
        "expected": round(expected, 4),
        "expectedBasis": basis,
        "runId": run.id,
    }
    proposal = Proposal(
        project_name=active.project_name,
        watcher="retrain",
        subject=active.id,
        title=f"Recommend retrain for {active.project_name}",
        description=_description(active, drift),
        priority=_priority(effect, policy.drift_margin),
        confidence=of_difference(changed, held_out, policy.drift_margin),
        magnitude=round(max(0.0, effect) * drift.changed_chunks, 6),
        reasoning=Reasoning(
            trigger=_trigger(drift),
            analysis=_analysis(active, drift, changed, held_out),
            expected_outcome=(
                f"{METRIC.capitalize()} falls from {drift.changed.perplexity:.2f} to about "
                f"{expected:.2f}, {basis}."
            ),
        ),
        action=RecommendedAction(type="start_training", parameters=_parameters(origin)),
        expects=Expectation(active_model_id=active.id, source_revisions=_revisions(origin)),
        evidence=evidence,
        job_ids=[active.job_id],
        model_ids=[active.id],
        dataset_ids=[origin.dataset_id],
    )
    return Found(proposal, charts.of_drift(drift))


def _estimate(loss: LossEstimate) -> Estimate:
    return Estimate(loss.mean, loss.standard_error, loss.examples)


def _interval(changed: Estimate, held_out: Estimate) -> tuple[float, float]:
    error = (changed.standard_error**2 + held_out.standard_error**2) ** 0.5
    return Estimate(changed.mean - held_out.mean, error, changed.samples).interval


def _expected(
    changed: LossEstimate, held_out: LossEstimate, earlier: list[float]
) -> tuple[float, str]:
    """The perplexity that training should bring, and what that expectation rests on."""
    if earlier:
        mean = sum(earlier) / len(earlier)
        return changed.perplexity * (1 + mean), (
            f"by the mean of {len(earlier)} earlier mission(s) of the project ({mean:+.0%})"
        )
    return min(changed.perplexity, held_out.perplexity), (
        "its perplexity on held-out code, by the gap that was measured"
    )


def _priority(effect: float, margin: float) -> Priority:
    if effect > 8 * max(margin, 0.01):
        return "high"
    return "medium" if effect > 2 * margin else "low"


def _trigger(drift: Drift) -> str:
    return "New commits detected" if drift.commits else "New content detected"


def _description(active: Model, drift: Drift) -> str:
    assert drift.changed is not None
    assert drift.held_out is not None
    what = f"{len(drift.commits)} new commits" if drift.commits else "New content"
    return (
        f"{what} changed {drift.changed_chunks} chunks ({drift.changed_share:.1%}) since "
        f"{active.name} was trained. Its perplexity there is {drift.changed.perplexity:.2f}, "
        f"against {drift.held_out.perplexity:.2f} on held-out code."
    )


def _analysis(active: Model, drift: Drift, changed: Estimate, held_out: Estimate) -> str:
    low, high = _interval(changed, held_out)
    return (
        f"{active.name} needs {changed.mean - held_out.mean:+.3f} nats per token more on code that "
        f"changed than on held-out code (95 % interval {low:+.3f} to {high:+.3f}; "
        f"{changed.samples} and {held_out.samples} examples) over {drift.changed_chunks} new "
        f"chunks in {len(drift.changed_files)} files."
    )


def _revisions(origin: Origin) -> dict[str, str]:
    return {snapshot.source_id: snapshot.revision for snapshot in origin.after}


def _parameters(origin: Origin) -> dict[str, object]:
    """Frozen: exactly the requests that approval makes, with the reference's keys beside them."""
    training = {
        "projectName": origin.train.project_name,
        "baseModel": origin.train.base_model,
        # A later run starts from the base again, so that no version inherits another's faults.
        **origin.train.config.model_dump(mode="json", exclude={"resume_from"}),
    }
    dataset = {
        "name": origin.dataset_name,
        "sourceIds": [snapshot.source_id for snapshot in origin.after],
        **origin.generate.model_dump(mode="json", exclude={"snapshots"}),
    }
    return {
        "datasetId": origin.dataset_id,
        "epochs": origin.train.config.epochs,
        "dataset": dataset,
        "training": training,
    }
