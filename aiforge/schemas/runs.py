"""Runs: all long work, whatever its kind, has this one shape."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from aiforge.schemas.common import Timestamp, Wire


class RunKind(StrEnum):
    """What a run does."""

    SYNC = "sync"
    GENERATE = "generate"
    TRAIN = "train"
    VALIDATE = "validate"
    EXPORT = "export"
    DEPLOY = "deploy"
    DRIFT = "drift"


class RunStatus(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Resources(Wire):
    """What a run is expected to occupy while it runs; admission adds these up."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0


class Run(Wire):
    """One piece of long work and how far it got.

    ``attempt`` counts the starts; a writer that names an older attempt is refused. ``request_id``
    is that of the request which the run goes back to.
    """

    id: str
    kind: RunKind
    resource_id: str
    status: RunStatus
    attempt: int = 0
    progress: float = 0.0
    stage: str | None = None
    queued_reason: str | None = None
    spec: dict[str, Any] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=Resources)
    result: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    error_code: str | None = None
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    heartbeat_at: Timestamp | None = None
    request_id: str | None = None


class LogLine(Wire):
    """One line of a run's log; ``sequence`` grows within the run."""

    sequence: int
    at: Timestamp
    level: str
    message: str


class MetricPoint(Wire):
    """What one training step measured.

    ``tokens_per_second`` counts tokens that are not padding; ``mfu`` is the share of the devices'
    peak FLOPs that the model's own took; ``memory_bytes`` is the largest peak of any worker, of
    its GPU or else of its process.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    epoch: float = 0.0
    tokens_per_second: float | None = None
    eval_loss: float | None = None
    mfu: float | None = None
    memory_bytes: int | None = None


class Event(Wire):
    """One entry of the append-only log that SSE, webhooks, missions and the audit trail read."""

    sequence: int
    at: Timestamp
    type: str
    resource_id: str
    data: dict[str, Any] = Field(default_factory=dict)
