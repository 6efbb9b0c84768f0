"""Proposes to activate a validated version that is better than the active one."""

from __future__ import annotations

import math

from aiforge.errors import NotFound
from aiforge.schemas.jobs import Validation
from aiforge.schemas.missions import MissionPolicy, Reasoning, RecommendedAction, Watcher
from aiforge.schemas.models import Model, ModelStatus
from aiforge.services.confidence import Estimate, of_difference
from aiforge.services.context import Services
from aiforge.services.watchers import charts
from aiforge.services.watchers.base import Attachment, Finding, Found, Quiet
from aiforge.state import jobs, models
from aiforge.state.missions import NO_MODEL, Expectation, Proposal

TOKEN_DEVIATION = 3.0
"""Standard deviation, in nats, that a token's loss is taken to have.

An assumption: validations store a mean and the number of scored tokens, not each token's loss. It
is on the high side for language models, so that the confidence errs on the low side.
"""

TOKENS_PER_SAMPLE = 32
"""Scored tokens that count as one independent observation, since those of one answer are alike."""

_MOST_VERSIONS = 50


class Deploy:
    """The newest version that passed the gate and has a lower perplexity than the active model.

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
                return _compare(candidate, active, validation, page.items)
        return Quiet("No version newer than the active one passed the gate.")


async def _validation(services: Services, model: Model) -> Validation | None:
    try:
        return await services.state.call(jobs.validation, model.job_id)
    except NotFound:
        return None


def _compare(
    candidate: Model, active: Model | None, validation: Validation, versions: list[Model]
) -> Finding:
    champion = validation.baseline if active is None else validation.active
    ours = validation.metrics
    if champion is None or not champion.perplexity or not ours.perplexity:
        return Quiet(f"{candidate.name} was not measured beside what answers now.")
    than = "the base model" if active is None else active.name
    gain = math.log(champion.perplexity / ours.perplexity)
    if gain <= 0:
        return Quiet(f"{candidate.name} is no better than {than}.")
    tokens = ours.scored_tokens or 0
    evidence = {
        "metric": "perplexity",
        "candidate": ours.model_dump(exclude_none=True),
        "champion": champion.model_dump(exclude_none=True),
        "gain": round(gain, 5),
        "scoredTokens": tokens,
        "expected": ours.perplexity,
    }
    proposal = Proposal(
        project_name=candidate.project_name,
        watcher="deploy",
        subject=candidate.id,
        title=f"Recommend to activate {candidate.name}",
        description=f"{candidate.name} passed its gate and is better than {than}: perplexity "
        f"{champion.perplexity:.2f} → {ours.perplexity:.2f} on held-out code.",
        priority="high" if gain > 0.5 else "medium" if gain > 0.05 else "low",
        confidence=of_difference(
            _estimate(champion.perplexity, tokens), _estimate(ours.perplexity, tokens)
        ),
        magnitude=round(gain, 5),
        reasoning=Reasoning(
            trigger="A validated version is better",
            analysis=f"On {tokens} held-out tokens {candidate.name} needs {gain:.3f} nats per "
            f"token less than {than}; every required metric of its gate passed.",
            expected_outcome=f"Answers come from a model with a perplexity of "
            f"{ours.perplexity:.2f} instead of {champion.perplexity:.2f}, as measured.",
        ),
        action=RecommendedAction(type="deploy_model", parameters={"modelId": candidate.id}),
        expects=Expectation(
            active_model_id=active.id if active else NO_MODEL, model_id=candidate.id
        ),
        evidence=evidence,
        job_ids=[candidate.job_id],
        model_ids=[candidate.id, *([active.id] if active else [])],
        dataset_ids=[candidate.dataset_id],
    )
    return Found(proposal, [charts.trend(versions), _side_by_side(validation, than)])


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
