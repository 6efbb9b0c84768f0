"""Rows that state tests begin with."""

from __future__ import annotations

from typing import Any

from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import Dataset, GenerateRequest
from aiforge.schemas.jobs import FineTuneRequest, Job
from aiforge.schemas.runs import LogLine, MetricPoint, Resources, Run, RunKind
from aiforge.schemas.sources import SourceCreated
from aiforge.state import datasets, jobs, outcomes, runs, sources
from aiforge.state.access import State
from aiforge.state.schema import now

NONE = Resources()

SYNCED = {
    "revision": "abc",
    "file_count": 3,
    "skipped_count": 1,
    "total_bytes": 99,
    "snapshot": "sources/s/snapshots/abc",
}
GENERATED = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.5}
TRAINED = {"adapter_path": "jobs/j/adapter", "steps": 7, "final_loss": 1.5}
DEPLOYED = {"engine": "ollama", "digest": "d", "prompt_tokens": 9, "answer": "a"}
EXPORTED = {
    "output_path": "/storage/exports/e/model.gguf",
    "size": 7,
    "sha256": "ab" * 32,
    "files": [{"name": "model.gguf", "size": 7, "sha256": "ab" * 32}],
    "stop_tokens": ["</s>"],
    "context_length": 64,
}

VALIDATED = {
    "metrics": {"perplexity": 3.0, "codebleu": 0.5, "latency": 7.0},
    "baseline": {"perplexity": 9.0},
    "passed": False,
    "policy": "tiny",
    "gates": [{"metric": "bits_per_byte", "status": "fail", "reason": "Worse.", "required": True}],
    "artifact_ids": ["art-1"],
}


def new_source(**changes: Any) -> sources.NewSource:
    values = {"id": new_id("src"), "name": "repo", "type": "git", "url": "https://x.org/r"}
    patterns: dict[str, Any] = {"include_patterns": [], "exclude_patterns": []}
    return sources.NewSource(**(values | patterns | changes))


def add_source(state: State, **changes: Any) -> SourceCreated:
    return state.call_sync(sources.create, new_source(**changes), NONE)


def finish(state: State, run_id: str, result: dict[str, Any]) -> Run:
    run = state.call_sync(runs.start, run_id)
    return state.call_sync(outcomes.complete, run_id, run.attempt, result)


def add_synced_source(state: State) -> str:
    created = add_source(state)
    finish(state, created.parsing_job_id, SYNCED)
    return created.source_id


def generate_run(state: State, dataset_id: str) -> Run:
    found = [
        run
        for run in state.call_sync(runs.waiting) + state.call_sync(runs.active)
        if run.resource_id == dataset_id
    ]
    return found[0]


def add_dataset(state: State) -> Dataset:
    request = GenerateRequest(name="d", source_ids=[add_synced_source(state)])
    return state.call_sync(datasets.create, request, NONE)


def add_ready_dataset(state: State) -> str:
    dataset = add_dataset(state)
    finish(state, generate_run(state, dataset.id).id, GENERATED)
    return dataset.id


def fine_tune(dataset_id: str, **changes: Any) -> FineTuneRequest:
    return FineTuneRequest(
        project_name=changes.pop("project_name", "p"),
        dataset_id=dataset_id,
        base_model="forge-tiny",
        **changes,
    )


def add_job(state: State, dataset_id: str | None = None, **changes: Any) -> Job:
    dataset_id = dataset_id or add_ready_dataset(state)
    queued = state.call_sync(jobs.create, fine_tune(dataset_id, **changes), NONE)
    return state.call_sync(jobs.get, queued.id)


def point(step: int, loss: float = 1.0, **changes: Any) -> MetricPoint:
    return MetricPoint(step=step, loss=loss, learning_rate=0.1, grad_norm=2.0, **changes)


def line(message: str, level: str = "info") -> LogLine:
    return LogLine(sequence=0, at=now(), level=level, message=message)


def validate_run(state: State, job_id: str) -> Run:
    found = [
        run
        for run in state.call_sync(runs.waiting) + state.call_sync(runs.active)
        if run.kind is RunKind.VALIDATE and run.resource_id == job_id
    ]
    (run,) = found
    return run
