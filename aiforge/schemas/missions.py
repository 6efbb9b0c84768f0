"""Missions: what the platform proposes, on which evidence, and what a person decided."""

from __future__ import annotations

from datetime import time
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from aiforge.schemas.artifacts import ArtifactType
from aiforge.schemas.common import Request, Timestamp, Wire

MissionType = Literal["retrain", "deploy", "alert"]
Priority = Literal["low", "medium", "high"]
ActionType = Literal["start_training", "deploy_model", "rollback_model", "acknowledge"]

Watcher = Literal[
    "retrain",
    "deploy",
    "failed_jobs",
    "missing_model",
    "slow_model",
    "dataset_quality",
    "full_disk",
    "stalled_queue",
]
"""Who proposed it; at most one mission of each is open in a project."""

MISSION_TYPES: dict[Watcher, MissionType] = {
    "retrain": "retrain",
    "deploy": "deploy",
    "failed_jobs": "alert",
    "missing_model": "alert",
    "slow_model": "alert",
    "dataset_quality": "alert",
    "full_disk": "alert",
    "stalled_queue": "alert",
}


class MissionStatus(StrEnum):
    """Where a mission is in its life."""

    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


class ExecutionStatus(StrEnum):
    """How far the action of an approved mission is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Reasoning(Wire):
    """Why a mission was raised, in words that follow from its evidence."""

    trigger: str
    analysis: str
    expected_outcome: str


class RecommendedAction(Wire):
    """What approval carries out; ``parameters`` are frozen when the mission is proposed."""

    type: ActionType
    parameters: dict[str, Any] = Field(default_factory=dict)


class Decision(Wire):
    """Who decided, when, and their comment or reason."""

    by: str
    at: Timestamp
    comment: str | None = None
    automatic: bool = False


class Execution(Wire):
    """What became of an approved mission's action; ``null`` ids where nothing was made yet."""

    status: ExecutionStatus
    step: str | None = None
    dataset_id: str | None = None
    job_id: str | None = None
    model_id: str | None = None
    run_id: str | None = None
    error: str | None = None
    error_code: str | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None


class Outcome(Wire):
    """What an executed mission really changed, measured as its evidence was.

    ``metric`` fell (or rose) from ``before`` to ``after``; ``expected`` is what the mission had
    said, ``met`` whether at least half of the expected change came about.
    """

    metric: str
    before: float
    after: float
    expected: float | None = None
    met: bool | None = None
    measured_at: Timestamp


class Mission(Wire):
    """One proposal, as lists show it."""

    id: str
    title: str
    description: str
    status: MissionStatus
    type: MissionType
    priority: Priority
    confidence: int = Field(ge=0, le=100)
    created_at: Timestamp
    updated_at: Timestamp
    project_name: str | None = None
    watcher: Watcher
    version: int
    """Grows whenever the evidence does; an approval may name the version that it means."""


class ArtifactLink(Wire):
    """An artifact of a mission; ``url`` is its route."""

    id: str
    type: ArtifactType
    name: str
    url: str


class MissionDetail(Mission):
    """A mission with its evidence, its action, and what came of it."""

    reasoning: Reasoning
    recommended_action: RecommendedAction
    evidence: dict[str, Any] = Field(default_factory=dict)
    artifacts: list[ArtifactLink] = Field(default_factory=list)
    related_job_ids: list[str] = Field(default_factory=list)
    related_model_ids: list[str] = Field(default_factory=list)
    related_dataset_ids: list[str] = Field(default_factory=list)
    decision: Decision | None = None
    execution: Execution | None = None
    outcome: Outcome | None = None
    superseded_because: str | None = None


class MissionList(Wire):
    """One page of missions; ``total`` counts those that the filters match, ``pending`` all open."""

    missions: list[Mission]
    total: int
    pending: int


class ApproveRequest(Request):
    """``POST /missions/:id/approve``."""

    comment: str | None = Field(default=None, max_length=2000)
    version: int | None = Field(default=None, ge=1)


class RejectRequest(Request):
    """``POST /missions/:id/reject``."""

    reason: str = Field(min_length=1, max_length=2000)


class QuietHours(Request):
    """A daily span in UTC in which nothing is proposed; may pass midnight."""

    start: time
    end: time

    def holds(self, moment: time) -> bool:
        """Whether a time of day lies within."""
        if self.start <= self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


class AutoApproval(Request):
    """What may be approved without a person; nothing by default."""

    watchers: list[Watcher] = Field(default_factory=list)
    min_confidence: int = Field(default=95, ge=0, le=100)
    daily_limit: int = Field(default=1, ge=0, le=100)
    """Most automatic approvals in 24 hours, per project."""


class MissionPolicy(Request):
    """What is watched in a project, and when it is worth a person's time.

    ``configs/missions/default.yaml`` holds the defaults; a project may differ.
    """

    watchers: list[Watcher] = Field(default_factory=lambda: list(MISSION_TYPES))
    """Which watchers are on."""

    min_confidence: int = Field(default=70, ge=0, le=100)
    """A proposal below is not raised."""

    growth_after_rejection: float = Field(default=0.25, ge=0)
    """Share by which the magnitude of rejected evidence must grow to be proposed again."""

    drift_margin: float = Field(default=0.05, ge=0)
    """Nats per token by which changed code must surprise a model more than held-out code does."""

    min_changed_chunks: int = Field(default=5, ge=1)
    """Fewer changed chunks than this are not measured."""

    failures: int = Field(default=2, ge=2)
    """Jobs of a project that fail for one cause, in a row, before an alert."""

    latency_ratio: float = Field(default=1.5, gt=1)
    """How many times its latency at activation an active model may need."""

    quality_drop: float = Field(default=0.1, gt=0, le=1)
    """Drop of a rebuilt dataset's quality below its predecessor's."""

    disk_free_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the storage's disk that should be free."""

    queue_seconds: float = Field(default=1800.0, gt=0)
    """How long a run may wait while nothing else runs."""

    quiet_hours: QuietHours | None = None
    auto_approval: AutoApproval = Field(default_factory=AutoApproval)

    @model_validator(mode="after")
    def _alerts_need_a_person(self) -> MissionPolicy:
        for watcher in self.auto_approval.watchers:
            if MISSION_TYPES[watcher] == "alert":
                raise ValueError(f"{watcher} raises alerts, which only a person can acknowledge")
        return self


class TrackRecord(Wire):
    """How a project's missions fared: decisions, executions, and outcomes against expectations."""

    project_name: str
    proposed: int
    approved: int
    rejected: int
    superseded: int
    executed: int
    failed: int
    outcomes: list[Outcome] = Field(default_factory=list)
    met: int = 0
    mean_relative_change: float | None = None
    """Mean of ``(after − before) / before`` over the outcomes."""
