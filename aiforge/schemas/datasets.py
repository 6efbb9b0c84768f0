"""RAFT datasets."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from aiforge.schemas.common import Request, Timestamp, Wire

DatasetFormat = Literal["alpaca", "chat", "sharegpt", "completion"]


class DatasetStatus(StrEnum):
    """Where a dataset is in its life."""

    GENERATING = "generating"
    READY = "ready"
    FAILED = "failed"


class RaftConfig(Wire):
    """How examples are made; ``configs/raft/*.yaml`` holds recipes of these."""

    distractors: int = Field(default=3, ge=0, le=16)
    """Chunks beside the golden one in each example."""

    golden_probability: float = Field(default=0.8, ge=0, le=1)
    """Share of the examples whose context holds the golden chunk (P of the RAFT paper)."""

    chunk_tokens: int = Field(default=160, ge=32, le=8192)
    """Largest chunk, in tokens of the base model."""

    context_tokens: int = Field(default=1024, ge=128)
    """Longest example, in tokens of the base model; distractors are dropped to fit."""

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the files held out before chunking."""

    seed: int = Field(default=0, ge=0)
    """Everything random about the dataset follows from it."""


class GenerateRequest(Request):
    """``POST /datasets/generate``."""

    name: str = Field(min_length=1, max_length=200)
    source_ids: list[str] = Field(min_length=1, max_length=100)
    format: DatasetFormat = "alpaca"
    max_examples: int = Field(default=1000, ge=1, le=1_000_000)
    base_model: str = "forge-tiny"
    raft: RaftConfig = Field(default_factory=RaftConfig)


class GenerateResponse(Wire):
    """The dataset that is being built."""

    dataset_id: str
    status: DatasetStatus


class StageYield(Wire):
    """How many items entered and left one stage of a build, and why the others did not."""

    stage: str
    entered: int
    left: int
    dropped: dict[str, int] = Field(default_factory=dict)


class YieldReport(Wire):
    """The account of a build.

    ``cleaned`` is how often what was taken out of the files' texts.
    ``quality_components`` are the factors of ``quality``, ``None`` where unmeasured;
    ``quality_samples`` the number of items that each was measured on.
    """

    stages: list[StageYield] = Field(default_factory=list)
    kinds: dict[str, int] = Field(default_factory=dict)
    cleaned: dict[str, int] = Field(default_factory=dict)
    quality_components: dict[str, float | None] = Field(default_factory=dict)
    quality_samples: dict[str, int] = Field(default_factory=dict)


class Dataset(Wire):
    """One dataset; ``example_count`` and ``quality`` are known once it is ready."""

    id: str
    name: str
    status: DatasetStatus
    example_count: int = 0
    train_count: int = 0
    validation_count: int = 0
    chunk_count: int = 0
    format: DatasetFormat
    created_at: Timestamp
    source_ids: list[str]
    quality: float | None = None
    progress: float = 0.0
    stage: str | None = None
    error: str | None = None
    error_code: str | None = None


class DatasetDetail(Dataset):
    """A dataset with its first examples and its yield report."""

    preview: list[dict[str, Any]] = Field(default_factory=list)
    report: YieldReport | None = None
