"""Runs of kind ``validate``: measure what a job trained, and let the gate judge it."""

from __future__ import annotations

import json
from typing import Any

from aiforge.errors import AIForgeError, NotFound
from aiforge.evaluation import gate, report
from aiforge.evaluation.compare import Comparison, Subject
from aiforge.evaluation.ray_validate import compare_on_cluster
from aiforge.modeling.bases import read_config, resolve_base_model
from aiforge.modeling.linears import Shape
from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.models import Model
from aiforge.schemas.validations import GatePolicy
from aiforge.services.context import RunContext
from aiforge.services.served import latency_of
from aiforge.state import jobs, models
from aiforge.state.schema import finite
from aiforge.state.validations import ValidateOutcome, ValidateSpec
from aiforge.storage import adapter_dir, dataset_dir, exam_file, model_dir
from aiforge.training.plan import DEFAULT_MAX_LENGTH

MEASURING_SHARE = 0.97


def execute(context: RunContext) -> dict[str, Any]:
    """Measure base, candidate and active model, judge, and leave a chart and a report."""
    spec = ValidateSpec.model_validate(context.run.spec)
    champion = _champion(context, spec)
    policy = _policy(context, spec)
    context.log(f"Measuring by the policy {policy.name!r}")
    figures = compare_on_cluster(
        _comparison(context, spec, champion, policy),
        context.reporter(MEASURING_SHARE),
        context.on_cancel,
    ).metrics
    context.check_cancelled()
    _add_served(context, spec, figures["candidate"], policy)
    for role, measured in figures.items():
        context.log(f"{role}: {_told(measured)}")
        for metric, reason in measured.not_measured.items():
            context.log(f"{role}: {metric} was not measured: {reason}", "warning")
    verdicts = gate.evaluate(
        policy, figures["candidate"], figures["active" if champion else "base"]
    )
    passed = gate.passed(verdicts)
    for verdict in verdicts:
        context.log(f"Gate {verdict.metric}: {verdict.status}. {verdict.reason}")
    context.log(f"The gate {'opens' if passed else 'stays shut'}")
    text = report.markdown(spec.job_id, spec.base_model, figures, policy, verdicts, passed)
    outcome = ValidateOutcome(
        metrics=_storable(figures["candidate"]),
        baseline=_storable(figures["base"]),
        active=_storable(figures["active"]) if champion else None,
        passed=passed,
        policy=policy.name,
        champion_id=champion.id if champion else None,
        gates=[
            one.model_copy(update={"value": finite(one.value), "champion": finite(one.champion)})
            for one in verdicts
        ],
        artifact_ids=_artifacts(context, spec, report.chart(figures), text),
    )
    return outcome.model_dump(by_alias=False)


def _add_served(
    context: RunContext, spec: ValidateSpec, measured: ValidationMetrics, policy: GatePolicy
) -> None:
    """Latency through the serving engine as well, where the model can be asked already.

    It stands beside the figure that the gate compares, which is of one engine for all models.
    """
    model = context.state.call_sync(models.of_job, spec.job_id)
    try:
        served = latency_of(context, model, policy.measure.latency)
    except AIForgeError as error:
        context.log(f"Latency was not measured as served: {error.message}", "warning")
        return
    if served is not None:
        measured.details.setdefault("latency", {})["served"] = served


def _champion(context: RunContext, spec: ValidateSpec) -> Model | None:
    """The project's active model, unless it is the one in question."""
    try:
        active = context.state.call_sync(models.active, spec.project_name)
    except NotFound:
        return None
    return None if active.job_id == spec.job_id else active


def _policy(context: RunContext, spec: ValidateSpec) -> GatePolicy:
    """The policy that was asked for, or the base model's; with as much exam as was asked for."""
    if spec.policy is not None:
        policy = gate.read_policy(spec.policy)
    else:
        base = resolve_base_model(spec.base_model, context.settings)
        policy = gate.policy_for(Shape.of(read_config(base)).parameters)
    if spec.exam_items is None:
        return policy
    exam = policy.measure.exam.model_copy(update={"items": spec.exam_items})
    measure = policy.measure.model_copy(update={"exam": exam})
    return policy.model_copy(update={"measure": measure})


def _comparison(
    context: RunContext, spec: ValidateSpec, champion: Model | None, policy: GatePolicy
) -> Comparison:
    base = resolve_base_model(spec.base_model, context.settings)
    subjects = [
        Subject("base", base),
        Subject("candidate", base, _trained_dir(spec.job_id, spec.config.method)),
    ]
    if champion is not None:
        job = context.state.call_sync(jobs.get, champion.job_id)
        own_base = resolve_base_model(champion.base_model, context.settings)
        subjects.append(Subject("active", own_base, _trained_dir(job.id, job.method)))
    return Comparison(
        subjects=tuple(subjects),
        storage_uri=context.settings.resolved_storage_uri,
        rows_path=f"{dataset_dir(spec.dataset_id)}/validation",
        exam_path=exam_file(spec.dataset_id),
        max_length=spec.config.max_seq_length or DEFAULT_MAX_LENGTH,
        measures=policy.measure,
        humaneval=context.settings.humaneval,
    )


def _trained_dir(job_id: str, method: str) -> str:
    return model_dir(job_id) if method == "full" else adapter_dir(job_id)


def _artifacts(
    context: RunContext, spec: ValidateSpec, chart: dict[str, Any], text: str
) -> list[str]:
    about = [spec.dataset_id, *([spec.model_id] if spec.model_id else [])]
    kept = [
        context.artifact(
            "chart",
            "Validation",
            json.dumps(chart).encode(),
            "application/json",
            resource_ids=about,
        ),
        context.artifact(
            "report", "Validation report", text.encode(), "text/markdown", resource_ids=about
        ),
    ]
    return [artifact.id for artifact in kept]


def _told(measured: ValidationMetrics) -> str:
    values = {name: getattr(measured, name) for name in report.TITLES}
    told = [f"{name} {value:.4g}" for name, value in values.items() if value is not None]
    return ", ".join(told) or "nothing was measured"


def _storable(measured: ValidationMetrics) -> ValidationMetrics:
    """The figures without those that JSON has no number for."""
    values = {name: finite(getattr(measured, name)) for name in report.TITLES}
    lost = {
        name: "It was not finite."
        for name, value in values.items()
        if value is None and getattr(measured, name) is not None
    }
    return measured.model_copy(update=values | {"not_measured": measured.not_measured | lost})
