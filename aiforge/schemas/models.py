"""The model registry: immutable versions of what a project trained, one of them active."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from aiforge.schemas.common import Request, Timestamp, Wire
from aiforge.schemas.jobs import JobConfig, JobStatus, Method


class ModelStatus(StrEnum):
    """Where a model is in its life."""

    READY = "ready"
    DEPLOYING = "deploying"
    ACTIVE = "active"
    FAILED = "failed"


Engine = Literal["ollama", "llama.cpp"]
"""What generates: an Ollama server, or llama.cpp inside the platform."""


class ModelMetrics(Wire):
    """Newest measurements of a model; ``null`` where there is none. Latency in milliseconds."""

    codebleu: float | None = None
    humaneval: float | None = None
    perplexity: float | None = None
    avg_latency: float | None = None


class Model(Wire):
    """One version of a project's model.

    ``ollama_name`` is what Ollama knows it by: ``project:latest`` while it is active, else its
    own immutable tag; ``null`` until it was deployed there.
    """

    id: str
    name: str
    project_name: str
    version: int
    base_model: str
    method: Method
    status: ModelStatus
    created_at: Timestamp
    metrics: ModelMetrics = Field(default_factory=ModelMetrics)
    ollama_name: str | None = None
    engine: Engine | None = None
    """What answers for it while it is active."""
    job_id: str
    dataset_id: str
    deployed_at: Timestamp | None = None
    activated_at: Timestamp | None = None
    error: str | None = None
    error_code: str | None = None


class ModelActionRequest(Request):
    """Why somebody deploys, activates, rolls back or deletes a model; kept in its history."""

    reason: str | None = Field(default=None, max_length=1000)


class DeployResponse(Wire):
    """``POST /models/:id/deploy``; ``status`` is ``deploying`` where it is not done yet."""

    ollama_name: str
    message: str
    status: ModelStatus
    run_id: str


class ModelActionResponse(Wire):
    """``POST /models/:id/activate`` and ``rollback``: what is active now, and by which run."""

    message: str
    model_id: str
    status: ModelStatus
    run_id: str


class Sample(Wire):
    """One question about the project, answered by the base model and by the trained one.

    ``base`` is ``null`` where the base model was too large to be asked as well.
    """

    question: str
    base: str | None = None
    tuned: str


ModelAction = Literal[
    "registered",
    "deployed",
    "deploy_failed",
    "activated",
    "activation_failed",
    "rolled_back",
    "rollback_failed",
    "deleted",
]


class ModelChange(Wire):
    """One entry of a model's append-only history: what was done, by whom, and why."""

    sequence: int
    at: Timestamp
    action: ModelAction
    model_id: str
    previous_model_id: str | None = None
    """The model that was active before, where another became active."""
    actor: str
    reason: str | None = None
    run_id: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


class LineageJob(Wire):
    """The training that a model came from."""

    id: str
    status: JobStatus
    config: JobConfig
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    final_loss: float | None = None


class LineageDataset(Wire):
    """What it was trained on; ``exists`` is false once it was deleted."""

    id: str
    name: str
    exists: bool
    example_count: int | None = None
    quality: float | None = None


class LineageSource(Wire):
    """A source of that dataset, at the revision (of a repository: the commit) that was read."""

    id: str
    revision: str
    exists: bool
    name: str | None = None
    url: str | None = None
    branch: str | None = None


class Lineage(Wire):
    """Where a model comes from: job, dataset and commits."""

    model: Model
    job: LineageJob
    dataset: LineageDataset
    sources: list[LineageSource]


_UNFIT = re.compile(r"[^a-z0-9._-]+")


def ollama_repository(project_name: str) -> str:
    """The name of a project's models on an Ollama server.

    A name that has to be changed for it gets a part of its hash, so that no two projects meet.
    """
    fit = _UNFIT.sub("-", project_name.lower())
    if fit == project_name:
        return fit
    return f"{fit}-{hashlib.sha256(project_name.encode()).hexdigest()[:6]}"


def version_tag(project_name: str, version: int) -> str:
    """The immutable name of one version on an Ollama server."""
    return f"{ollama_repository(project_name)}:v{version}"


def latest_tag(project_name: str) -> str:
    """The name that follows a project's active version on an Ollama server."""
    return f"{ollama_repository(project_name)}:latest"
