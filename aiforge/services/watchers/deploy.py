"""Proposes to activate a validated version that is better than the active one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiforge.errors import NotFound
from aiforge.schemas.drifts import LossEstimate
from aiforge.schemas.jobs import Validation, ValidationMetrics
from aiforge.schemas.missions import MissionPolicy, Reasoning, RecommendedAction, Watcher
from aiforge.schemas.models import Model, ModelStatus
from aiforge.services.confidence import Estimate, of_difference
from aiforge.services.context import Services
from aiforge.services.watchers import charts
from aiforge.services.watchers.base import Attachment, Finding, Found, Quiet
from aiforge.state import drifts, executions, jobs, models, runs
from aiforge.state.drifts import DriftSpec
from aiforge.state.proposals import NO_MODEL, Expectation, Proposal

TOKEN_DEVIATION = 3.0
"""Standard deviation, in nats, that a token's loss is taken to have.

An assumption: validations store a mean and the number of scored tokens, not each token's loss. It
is on the high side for language models, so that the confidence errs on the low side.
"""

TOKENS_PER_SAMPLE = 32
"""Scored tokens that count as one independent observation, since those of one answer are alike."""

_MOST_VERSIONS = 50


@dataclass(frozen=True)
class Gain:
    """By how much a candidate is better, in nats per token, and what that was measured on."""

    nats: float
    confidence: int
    before: float
    after: float
    samples: str
    where: str


class Deploy:
    """The newest version that passed the gate and is better than what answers now.

    Better means a lower perplexity on held-out code; or, for a version that a retrain mission led
    to, a lower one on the code that had changed, while the gate says that it lost nothing else.
    Where no model of the project is active, the base model is what has to be beaten.
    """

    name: Watcher = "deploy"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        page = await services.state.call(models.page, _MOST_VERSIONS, 0, project)
        active = next((one for one in page.items if one.status is ModelStatus.ACTIVE), None)
        for candidate in page.items:
            if active is not None and candidate.version <= active.version:
                break
            if candidate.status is not ModelStatus.READY:
                continue
            validation = await _validation(services, candidate)
            if validation is None:
                return None
            if validation.passed:
                return await self._compare(services, candidate, active, validation, page.items)
        return Quiet("No version newer than the active one passed the gate.")

    async def _compare(
        self,
        services: Services,
        candidate: Model,
        active: Model | None,
        validation: Validation,
        versions: list[Model],
    ) -> Finding:
        champion = validation.baseline if active is None else validation.active
        gain = _held_out(validation.metrics, champion)
        if gain is None:
            return Quiet(f"{candidate.name} was not measured beside what answers now.")
        if gain.nats <= 0:
            if await services.state.call(executions.awaiting_outcome, candidate.id):
                return None
            gain = await _changed(services, candidate) or gain
        than = "the base model" if active is None else active.name
        if gain.nats <= 0:
            return Quiet(f"{candidate.name} is no better than {than}.")
        proposal = _proposal(candidate, active, validation, gain, than)
        return Found(proposal, [charts.trend(versions), _side_by_side(validation, than)])


async def _validation(services: Services, model: Model) -> Validation | None:
    try:
        return await services.state.call(jobs.validation, model.job_id)
    except NotFound:
        return None


def _held_out(ours: ValidationMetrics, champion: ValidationMetrics | None) -> Gain | None:
    """What a candidate gains on held-out code; ``None`` where it was not measured."""
    if champion is None or not champion.perplexity or not ours.perplexity:
        return None
    tokens = ours.scored_tokens or 0
    return Gain(
        nats=math.log(champion.perplexity / ours.perplexity),
        confidence=of_difference(
            _estimate(champion.perplexity, tokens), _estimate(ours.perplexity, tokens)
        ),
        before=champion.perplexity,
        after=ours.perplexity,
        samples=f"{tokens} held-out tokens",
        where="held-out code",
    )


async def _changed(services: Services, candidate: Model) -> Gain | None:
    """What a retrain mission gained on the code that had changed, as its outcome was measured."""
    mission = await services.state.call(executions.measured_for, candidate.id)
    if mission is None or mission.outcome is None:
        return None
    before = await services.state.call(runs.get, str(mission.evidence["runId"]))
    was, spec = drifts.result(before), DriftSpec.model_validate(before.spec)
    run = await services.state.call(
        drifts.find, candidate.id, drifts.revisions(spec.before), drifts.revisions(spec.after)
    )
    if run is None or was.changed is None:
        return None
    now = drifts.result(run).changed
    if now is None:
        return None
    return Gain(
        nats=was.changed.mean - now.mean,
        confidence=of_difference(_of_loss(was.changed), _of_loss(now)),
        before=was.changed.perplexity,
        after=now.perplexity,
        samples=f"{now.examples} examples about code that had changed",
        where="code that had changed",
    )


def _proposal(
    candidate: Model, active: Model | None, validation: Validation, gain: Gain, than: str
) -> Proposal:
    ours = validation.metrics
    champion = validation.baseline if active is None else validation.active
    evidence = {
        "metric": f"perplexity on {gain.where}",
        "before": gain.before,
        "after": gain.after,
        "gain": round(gain.nats, 5),
        "candidate": ours.model_dump(mode="json", exclude_none=True),
        "champion": champion.model_dump(mode="json", exclude_none=True) if champion else None,
        "gates": [verdict.model_dump(mode="json") for verdict in validation.gates],
    }
    return Proposal(
        project_name=candidate.project_name,
        watcher="deploy",
        subject=candidate.id,
        title=f"Recommend to activate {candidate.name}",
        description=f"{candidate.name} passed its gate and is better than {than}: perplexity "
        f"{gain.before:.2f} → {gain.after:.2f} on {gain.where}.",
        priority="high" if gain.nats > 0.5 else "medium" if gain.nats > 0.05 else "low",
        confidence=gain.confidence,
        magnitude=round(gain.nats, 5),
        reasoning=Reasoning(
            trigger="A validated version is better",
            analysis=f"On {gain.samples} {candidate.name} needs {gain.nats:.3f} nats per token "
            f"less than {than}; every required metric of its gate passed.",
            expected_outcome=f"Answers about {gain.where} come from a model with a perplexity of "
            f"{gain.after:.2f} there instead of {gain.before:.2f}, as measured.",
        ),
        action=RecommendedAction(type="deploy_model", parameters={"modelId": candidate.id}),
        expects=Expectation(
            active_model_id=NO_MODEL if active is None else active.id, model_id=candidate.id
        ),
        evidence=evidence,
        job_ids=[candidate.job_id],
        model_ids=[candidate.id, *([active.id] if active else [])],
        dataset_ids=[candidate.dataset_id],
    )


def _of_loss(loss: LossEstimate) -> Estimate:
    return Estimate(loss.mean, loss.standard_error, loss.examples)


def _estimate(perplexity: float, tokens: int) -> Estimate:
    if not tokens:
        return Estimate(math.log(perplexity), math.inf, 0)
    samples = max(1, tokens // TOKENS_PER_SAMPLE)
    return Estimate(math.log(perplexity), TOKEN_DEVIATION / math.sqrt(tokens), samples)


def _side_by_side(validation: Validation, than: str) -> Attachment:
    columns = {
        "base": validation.baseline,
        than: validation.active,
        "candidate": validation.metrics,
    }
    measured = {name: metrics for name, metrics in columns.items() if metrics is not None}
    names = list(type(validation.metrics).model_fields)
    lines = [f"| metric | {' | '.join(measured)} |", f"|---|{'---:|' * len(measured)}"]
    for name in names:
        values = [getattr(metrics, name) for metrics in measured.values()]
        if any(isinstance(value, int | float) for value in values):
            cells = (f"{v:.4g}" if isinstance(v, int | float) else "–" for v in values)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return charts.report("Validation comparison", "\n".join(lines) + "\n")
