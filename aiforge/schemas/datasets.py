"""RAFT datasets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from aiforge.schemas.common import Request, Timestamp, Wire

DatasetFormat = Literal["alpaca", "chat", "sharegpt", "completion"]
Split = Literal["train", "validation", "all"]


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

    denied_licenses: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list, max_length=200
    )
    """SPDX identifiers of which no chunk is used; ``unknown`` means files without a licence."""

    decontaminate: bool = True
    """Whether chunks that hold problems of a benchmark (HumanEval) are left out."""

    exam_items: int = Field(default=0, ge=0, le=200)
    """Functions set aside to examine models on: those that the repository's own tests check. The
    tests are run, in a sandbox, to find them; 0 sets none aside and runs nothing."""

    reserved: list[list[int]] = Field(default_factory=list, max_length=10_000)
    """Fingerprints of code that must not be trained on, the exam's among them."""


class TeacherConfig(Request):
    """A model that writes questions and answers; ``configs/raft/teacher.yaml`` is a recipe."""

    url: str | None = Field(default=None, max_length=2000)
    """An OpenAI-compatible endpoint (``http://127.0.0.1:11434/v1``); absent for ``vllm``."""

    engine: Literal["openai", "vllm"] = "openai"
    """``openai`` asks an endpoint, ``vllm`` runs the model on the cluster's GPUs."""

    model: str = Field(min_length=1, max_length=300)
    """Name of the model as the endpoint knows it; for ``vllm`` its hub id or directory."""

    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]{0,127}$")
    """Environment variable that holds the key; the operator must have bound it to the host."""

    questions_per_chunk: int = Field(default=3, ge=1, le=10)
    """Questions that are asked for about each chunk."""

    temperature: float = Field(default=0.3, ge=0, le=2)
    """How freely the model writes."""

    max_tokens: int = Field(default=1024, ge=64, le=32_768)
    """Longest reply, in the teacher's tokens."""

    slots: int = Field(default=32, ge=1, le=512)
    """Requests that are under way at a time."""

    timeout_seconds: float = Field(default=120.0, gt=0, le=3600)
    """Longest wait for one reply."""

    max_retries: int = Field(default=6, ge=0, le=20)
    """How often a request is sent again where the endpoint is busy or away."""

    structured: bool = True
    """Whether replies are constrained by ``response_format: json_schema``."""

    max_requests: int | None = Field(default=None, ge=1)
    """Budget: most requests that one dataset may pay for."""

    max_total_tokens: int | None = Field(default=None, ge=1)
    """Budget: most tokens, prompts and replies together, that one dataset may pay for."""

    price_per_million_prompt_tokens: float | None = Field(default=None, ge=0)
    """Price in the currency of your choice, for the report."""

    price_per_million_reply_tokens: float | None = Field(default=None, ge=0)
    """Price in the currency of your choice, for the report."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.engine == "openai" and self.url is None:
            raise ValueError("url is required for the engine openai")
        if self.engine == "vllm" and (self.url or self.api_key_env):
            raise ValueError("the engine vllm takes no url and no apiKeyEnv")
        if self.engine == "vllm" and self.max_total_tokens:
            raise ValueError("the engine vllm takes maxRequests, not maxTotalTokens")
        return self


class TeacherUse(Wire):
    """What a teacher was asked and what that cost.

    ``requests`` and tokens are what this dataset paid for, over all attempts to build it;
    ``cached`` replies were paid for by others. ``cost`` is in the currency of the prices, ``None``
    without prices. ``dropped`` counts questions, or chunks, by the reason they were not used.
    ``tokens_estimated`` says that the endpoint did not count all of its tokens.
    """

    model: str
    chunks: int = 0
    requests: int = 0
    cached: int = 0
    retries: int = 0
    repairs: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    tokens_estimated: bool = False
    cost: float | None = None
    pairs: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    budget_spent: bool = False


class GenerateRequest(Request):
    """``POST /datasets/generate``."""

    name: str = Field(min_length=1, max_length=200)
    source_ids: list[str] = Field(min_length=1, max_length=100)
    format: DatasetFormat = "alpaca"
    max_examples: int = Field(default=1000, ge=1, le=1_000_000)
    base_model: str = "forge-tiny"
    raft: RaftConfig = Field(default_factory=RaftConfig)
    teacher: TeacherConfig | None = None


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
    ``quality_samples`` the number of items that each was measured on, ``quality_weights`` their
    exponents. ``teacher`` is what a teacher was asked, where there was one.
    """

    stages: list[StageYield] = Field(default_factory=list)
    kinds: dict[str, int] = Field(default_factory=dict)
    cleaned: dict[str, int] = Field(default_factory=dict)
    quality_components: dict[str, float | None] = Field(default_factory=dict)
    quality_samples: dict[str, int] = Field(default_factory=dict)
    quality_weights: dict[str, float] = Field(default_factory=dict)
    teacher: TeacherUse | None = None


class Dataset(Wire):
    """One dataset; ``example_count`` grows while it is built, ``quality`` is known at its end."""

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
