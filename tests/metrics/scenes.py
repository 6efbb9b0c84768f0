"""A platform on which everything has happened once that metrics tell of."""

from __future__ import annotations

import socket
from typing import Any

from served import OUTCOMES

from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest
from aiforge.schemas.exports import ExportRequest
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.missions import MissionPolicy, Reasoning, RecommendedAction
from aiforge.schemas.runs import MetricPoint, Resources, Run, RunKind
from aiforge.schemas.webhooks import Webhook, WebhookStatus
from aiforge.state import (
    datasets,
    deliveries,
    deployments,
    exports,
    jobs,
    models,
    outcomes,
    proposals,
    runs,
    sources,
    webhooks,
)
from aiforge.state.access import State
from aiforge.state.schema import now
from aiforge.storage import Storage, dataset_dir, export_dir

NONE = Resources()

REPORT: dict[str, Any] = {
    "stages": [{"stage": "filters", "entered": 12, "left": 7}],
    "teacher": {
        "model": "m",
        "requests": 5,
        "cached": 2,
        "promptTokens": 90,
        "replyTokens": 40,
        "cost": 0.25,
    },
}
DEPLOYED = {"engine": "ollama", "digest": "d", "prompt_tokens": 9, "answer": "a"}
PARITY = {"checks": [{"measured": 0.01, "unit": "nats, mean", "passed": True}]}


def lived_in(state: State, storage: Storage) -> None:
    """Sources synced, a dataset built, jobs trained, failed and queued, and what follows."""
    webhook(state)
    dataset = ready_dataset(state)
    storage.write_json(f"{dataset_dir(dataset)}/report.json", REPORT)
    trained = job(state, dataset)
    complete(state, report_steps(state, trained))
    model = state.call_sync(models.page, 1, 0).items[0]
    export = state.call_sync(exports.create, trained, ExportRequest(), NONE)
    complete(state, start(state, export.export_id))
    storage.write_json(f"{export_dir(export.export_id)}/parity.json", PARITY)
    deployment = state.call_sync(deployments.deploy, model.id, "tester", None, NONE)
    run = state.call_sync(runs.start, deployment.id)
    complete(state, run)
    failed = start(state, job(state, dataset))
    state.call_sync(outcomes.fail, failed.id, failed.attempt, "It broke.", "broken")
    job(state, dataset)
    mission(state)
    state.call_sync(deliveries.expand)


def webhook(state: State) -> None:
    hook = Webhook(
        id="hook-1",
        url="https://example.org/hook",
        events=["*"],
        status=WebhookStatus.ACTIVE,
        created_by="test",
        created_at=now(),
    )
    state.call_sync(webhooks.create, hook, "whsec")


def ready_dataset(state: State) -> str:
    new = sources.NewSource(
        id=new_id("src"),
        name="repo",
        type="git",
        url="https://example.org/r",
        include_patterns=[],
        exclude_patterns=[],
    )
    source = state.call_sync(sources.create, new, NONE)
    complete(state, state.call_sync(runs.start, source.parsing_job_id))
    request = GenerateRequest(name="d", source_ids=[source.source_id])
    dataset = state.call_sync(datasets.create, request, NONE)
    complete(state, start(state, dataset.id))
    return dataset.id


def job(state: State, dataset: str) -> str:
    request = FineTuneRequest(project_name="p", dataset_id=dataset, base_model="forge-tiny")
    return state.call_sync(jobs.create, request, NONE).id


def report_steps(state: State, job_id: str) -> Run:
    run = state.call_sync(runs.start, job_id)
    points = [
        MetricPoint(
            step=step,
            loss=1.0 / step,
            learning_rate=0.1,
            grad_norm=2.0,
            tokens_per_second=1000.0,
            memory_bytes=1 << 30,
        )
        for step in (1, 2)
    ]
    state.call_sync(runs.record, run.id, run.attempt, runs.Report(points=points))
    return run


def start(state: State, resource_id: str) -> Run:
    waiting = state.call_sync(runs.waiting)
    run_id = next(run.id for run in waiting if run.resource_id == resource_id)
    return state.call_sync(runs.start, run_id)


def complete(state: State, run: Run) -> None:
    outcome = DEPLOYED if run.kind is RunKind.DEPLOY else OUTCOMES[run.kind]
    state.call_sync(outcomes.complete, run.id, run.attempt, outcome)


def mission(state: State) -> None:
    proposal = proposals.Proposal(
        project_name="p",
        watcher="stalled_queue",
        subject="run-1",
        title="The queue stalls",
        description="A run waits.",
        priority="high",
        confidence=100,
        magnitude=1.0,
        reasoning=Reasoning(trigger="t", analysis="a", expected_outcome="e"),
        action=RecommendedAction(type="acknowledge"),
    )
    assert state.call_sync(proposals.propose, proposal, MissionPolicy()) is not None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
