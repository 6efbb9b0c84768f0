"""What executed missions really changed."""

from __future__ import annotations

from aiforge.schemas.missions import MissionDetail, Outcome
from aiforge.schemas.runs import RunStatus
from aiforge.services.context import Services
from aiforge.services.watchers.retrain import METRIC, resources
from aiforge.state import drifts, models, runs
from aiforge.state.drifts import DriftSpec
from aiforge.state.schema import now
from aiforge.storage import adapter_dir, model_dir

MET_SHARE = 0.5
"""Part of the expected change that must have come about for an expectation to be met."""


async def retrain(services: Services, mission: MissionDetail) -> Outcome | None:
    """The new model's perplexity on the code that had changed; ``None`` until it is measured.

    The very examples of the mission's evidence are scored again, by the model that it led to.
    """
    execution, evidence = mission.execution, mission.evidence
    if execution is None or execution.model_id is None or "runId" not in evidence:
        return None
    before = await services.state.call(runs.get, str(evidence["runId"]))
    model = await services.state.call(models.get, execution.model_id)
    directory = model_dir if model.method == "full" else adapter_dir
    spec = DriftSpec.model_validate(before.spec).model_copy(
        update={"model_id": model.id, "adapter_path": directory(model.job_id)}
    )
    run = await services.state.call(drifts.create, spec, resources(services, model), mission.id)
    if run.status is not RunStatus.COMPLETED:
        return None
    changed = drifts.result(run).changed
    if changed is None:
        return None
    was = drifts.result(before).changed
    return outcome(was.perplexity if was else 0.0, changed.perplexity, evidence.get("expected"))


def outcome(before: float, after: float, expected: float | None) -> Outcome:
    """An outcome, and whether the expectation was met."""
    met = None
    if expected is not None and expected != before:
        met = (before - after) / (before - expected) >= MET_SHARE
    return Outcome(
        metric=METRIC, before=before, after=after, expected=expected, met=met, measured_at=now()
    )
