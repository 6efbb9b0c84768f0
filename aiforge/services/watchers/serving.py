"""Alerts about active models on an Ollama server: gone, or slower than they were."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Sequence

from aiforge.errors import NotFound
from aiforge.schemas.missions import MissionPolicy, Reasoning, RecommendedAction, Watcher
from aiforge.schemas.models import Model
from aiforge.services.confidence import Estimate, of_difference, ratio_estimate
from aiforge.services.context import Services
from aiforge.services.watchers import charts
from aiforge.services.watchers.base import Attachment, Finding, Found, Quiet
from aiforge.serving.chat import ChatOptions
from aiforge.serving.ollama import Ollama
from aiforge.state import answering, latencies, models
from aiforge.state.answering import Served
from aiforge.state.latencies import Sample
from aiforge.state.proposals import Expectation, Proposal

SAMPLE_SECONDS = 600.0
"""How far two samples of a model's latency are apart."""

BASELINE = 20
"""Samples after the activation that later ones are compared with."""

RECENT = 20
"""The newest samples, which are compared with those."""

_TOKENS = 16
_NOT_ON_OLLAMA = "No active model of the project is on an Ollama server."


class MissingModel:
    """An active model that its server does not list any more, or lists with another digest."""

    name: Watcher = "missing_model"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        served = await _served(services, project)
        if served is None:
            return Quiet(_NOT_ON_OLLAMA)
        url = services.settings.ollama_url
        tags = await asyncio.to_thread(_tags, url)
        found = tags.get(served.latest)
        if found is not None and found == served.digest:
            return Quiet(f"{served.latest} is on the server.")
        return Found(_missing(served, url, found))


def _tags(url: str) -> dict[str, str]:
    with Ollama(url) as server:
        return server.tags()


async def _served(services: Services, project: str) -> Served | None:
    """The active model of a project, if an Ollama server answers for it."""
    for one in await services.state.call(answering.active):
        if one.model.project_name == project:
            return one if one.engine == "ollama" else None
    return None


def _missing(served: Served, url: str, found: str | None) -> Proposal:
    model = served.model
    what = "is gone from" if found is None else "was replaced on"
    return Proposal(
        project_name=model.project_name,
        watcher="missing_model",
        subject=model.id,
        title=f"{served.latest} {what} the Ollama server",
        description=f"{model.name} is active, but {served.latest} {what} {url}. Requests for it "
        "fail or are answered by another model.",
        priority="high",
        # The server itself said so.
        confidence=100,
        magnitude=1.0,
        reasoning=Reasoning(
            trigger="The active model is not where it was deployed",
            analysis=f"{served.latest} has the digest {found or 'none'}; it should be "
            f"{served.digest}.",
            expected_outcome=f"{model.name} is deployed and activated again, and answers.",
        ),
        action=RecommendedAction(type="deploy_model", parameters={"modelId": model.id}),
        expects=Expectation(active_model_id=model.id, model_id=model.id),
        evidence={"name": served.latest, "digest": found, "expectedDigest": served.digest},
        job_ids=[model.job_id],
        model_ids=[model.id],
    )


class SlowModel:
    """An active model whose time for each token drifted since it became active.

    A sample is one short answer to a prompt that no cache knows. The first twenty after the
    activation are the baseline; logarithms are compared, so that the effect is a ratio.
    """

    name: Watcher = "slow_model"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        served = await _served(services, project)
        if served is None:
            return Quiet(_NOT_ON_OLLAMA)
        model = served.model
        samples = await self._sampled(services, served)
        if len(samples) < BASELINE + RECENT:
            return Quiet("There are too few samples of its latency yet.")
        baseline, recent = _logarithms(samples[:BASELINE]), _logarithms(samples[-RECENT:])
        ratio = math.exp(recent.mean - baseline.mean)
        if ratio < policy.latency_ratio:
            return Quiet(f"{model.name} needs {ratio:.2f} times what it needed at first.")
        confidence = of_difference(recent, baseline, math.log(policy.latency_ratio))
        previous = await _previous(services, model)
        proposal = _slow(model, samples, baseline, recent, confidence, previous)
        return Found(proposal, [_chart(model, samples)])

    async def _sampled(self, services: Services, served: Served) -> Sequence[Sample]:
        """The samples since the activation, with a new one where the last is old enough."""
        model_id, since = served.model.id, served.model.activated_at
        samples = await services.state.call(latencies.of_model, model_id, since)
        if samples and time.time() - samples[-1].at.timestamp() < SAMPLE_SECONDS:
            return samples
        taken = await asyncio.to_thread(_sample, services.settings.ollama_url, served.latest)
        await services.state.call(latencies.add, model_id, taken, SAMPLE_SECONDS)
        return await services.state.call(latencies.of_model, model_id, since)


def _sample(url: str, name: str) -> float:
    """Milliseconds for each token of one short answer, after the model was loaded."""
    message = {"role": "user", "content": f"{uuid.uuid4().hex}: count to ten."}
    with Ollama(url) as server:
        server.warm(name)
        begun = time.perf_counter()
        pieces = list(server.chat(name, [message], ChatOptions(max_tokens=_TOKENS)))
        seconds = time.perf_counter() - begun
    return 1000 * seconds / max(1, pieces[-1].completion_tokens or 1)


def _logarithms(samples: Sequence[Sample]) -> Estimate:
    values = [math.log(max(sample.milliseconds, 1e-3)) for sample in samples]
    return ratio_estimate(values, [1.0] * len(values))


async def _previous(services: Services, model: Model) -> str | None:
    """The version that was active before, which a rollback would return to."""
    changes = await services.state.call(models.history, model.id)
    before = [one.previous_model_id for one in changes if one.action == "activated"]
    if not before or before[-1] is None:
        return None
    try:
        return (await services.state.call(models.get, before[-1])).id
    except NotFound:
        return None


def _slow(
    model: Model,
    samples: Sequence[Sample],
    baseline: Estimate,
    recent: Estimate,
    confidence: int,
    previous: str | None,
) -> Proposal:
    ratio = math.exp(recent.mean - baseline.mean)
    before, after = math.exp(baseline.mean), math.exp(recent.mean)
    action = RecommendedAction(type="acknowledge", parameters={"modelId": model.id})
    outcome = "Answers stay slow until the server has less to do or more to do it with."
    if previous is not None:
        action = RecommendedAction(type="rollback_model", parameters={"modelId": model.id})
        outcome = f"{previous} answers again; whether it is faster on this server was not measured."
    return Proposal(
        project_name=model.project_name,
        watcher="slow_model",
        subject=model.id,
        title=f"{model.name} needs {ratio:.1f} times as long as at first",
        description=f"{model.name} needs {after:.1f} ms for a token; after its activation it was "
        f"{before:.1f} ms.",
        priority="high" if ratio > 3 else "medium",
        confidence=confidence,
        # In tenths, so that not every sample is new evidence.
        magnitude=round(ratio, 1),
        reasoning=Reasoning(
            trigger="The active model's latency drifted",
            analysis=f"Geometric means of {baseline.samples} samples after the activation and the "
            f"newest {recent.samples}: {before:.1f} and {after:.1f} ms per token.",
            expected_outcome=outcome,
        ),
        action=action,
        expects=Expectation(active_model_id=model.id),
        evidence={"before": round(before, 1), "now": round(after, 1), "ratio": round(ratio, 1)},
        job_ids=[model.job_id],
        model_ids=[model.id, *([previous] if previous else [])],
    )


def _chart(model: Model, samples: Sequence[Sample]) -> Attachment:
    rows = [
        {"at": sample.at.isoformat(timespec="seconds"), "milliseconds": sample.milliseconds}
        for sample in samples
    ]
    return charts.chart(
        "Latency",
        f"Milliseconds per token of {model.name}",
        rows,
        mark={"type": "line", "point": True},
        encoding={
            "x": {"field": "at", "type": "temporal"},
            "y": {"field": "milliseconds", "type": "quantitative"},
        },
    )
