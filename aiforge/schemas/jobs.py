"""Training jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from aiforge.schemas.common import Request, Timestamp, Wire
from aiforge.schemas.runs import RunStatus
from aiforge.schemas.validations import ByMetric, GateVerdict

JobStatus = RunStatus
Method = Literal["pissa", "lora", "full"]
ScheduleShape = Literal["cosine", "linear", "constant"]

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")]


class JobConfig(Wire):
    """The hyperparameters of a fine-tuning job, defaults filled in."""

    epochs: int = Field(default=3, ge=1, le=10)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    rank: int = Field(default=64, ge=1, le=1024)
    batch_size: int = Field(default=4, ge=1)
    gradient_accumulation: int = Field(default=4, ge=1)
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    method: Method = "pissa"
    max_seq_length: int | None = Field(default=None, ge=64)
    seed: int = Field(default=0, ge=0)
    num_workers: int = Field(default=1, ge=1, le=1024)
    """Ray Train workers; the most, where ``min_workers`` is given."""

    min_workers: int | None = Field(default=None, ge=1, le=1024)
    """Makes training elastic: it goes on with as few as these when workers are lost."""

    zero_stage: int | None = Field(default=None, ge=0, le=3)
    """DeepSpeed ZeRO stage; chosen from model and memory when absent."""

    offload: bool = False
    """Keep parameters and optimizer state in the host's memory; ZeRO stage 3 alone."""

    quantize_base: bool = False
    """Keep the frozen base in 4 bits (NF4)."""

    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""

    target_modules: list[str] | None = Field(default=None, min_length=1, max_length=64)
    schedule: ScheduleShape = "cosine"
    """How the learning rate falls after its warm-up."""

    eval_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on held-out examples; once an epoch when absent."""

    early_stopping: int | None = Field(default=None, ge=1, le=1000)
    """Evaluations without a better loss after which training ends, and the weights that evaluated
    best are published; never when absent."""

    resume_from: str | None = Field(default=None, max_length=64)
    """Job whose newest checkpoint this one starts from."""


class FineTuneRequest(JobConfig, Request):
    """``POST /v1/fine-tune``: what to train, on what, and how."""

    project_name: Name
    dataset_id: str
    base_model: str = Field(min_length=1, max_length=500)

    @property
    def hyperparameters(self) -> JobConfig:
        """How to train, without what and on what."""
        return JobConfig.model_validate({name: getattr(self, name) for name in _HYPERPARAMETERS})


_HYPERPARAMETERS = tuple(JobConfig.model_fields)


class FineTuneResponse(Wire):
    """The job that was queued."""

    job_id: str
    status: JobStatus
    message: str


class JobMetrics(Wire):
    """The newest figures of a job; ``null`` until measured."""

    loss: float | None = None
    current_epoch: int = 0
    total_epochs: int = 0
    current_step: int = 0
    total_steps: int = 0
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    memory_bytes: int | None = None
    eval_loss: float | None = None
    remaining_seconds: float | None = None


class Job(Wire):
    """One training job."""

    id: str
    project_name: str
    status: JobStatus
    base_model: str
    method: Method
    progress: float
    metrics: JobMetrics
    config: JobConfig
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    dataset_id: str
    dataset_name: str
    stage: str | None = None
    queued_reason: str | None = None
    error: str | None = None
    error_code: str | None = None
    result: dict[str, Any] = Field(default_factory=dict)
    """What the job left behind: ``adapterPath``, ``trainTokens``, ``tokensPerSecond``, …"""


class JobMetricsHistory(Wire):
    """The loss curve of a job, as parallel lists; ``null`` where a value was not finite."""

    steps: list[int]
    losses: list[float | None]
    learning_rates: list[float | None]
    grad_norms: list[float | None]
    tokens_per_second: list[float | None] = Field(default_factory=list)
    eval_losses: list[float | None] = Field(default_factory=list)
    """Loss on held-out examples; ``null`` at steps that were not followed by an evaluation."""

    mfu: list[float | None] = Field(default_factory=list)
    """Model FLOPs utilization, 0 to 1; ``null`` where the device's peak is not known."""

    memory_bytes: list[int | None] = Field(default_factory=list)
    """Largest peak memory of any worker so far."""


class JobLogs(Wire):
    """The last lines of a job's log."""

    logs: list[str]
    last_updated: Timestamp | None = None


class ValidationMetrics(Wire):
    """What was measured of a model; ``null`` where it was not, and ``not_measured`` says why.

    ``humaneval`` is pass@1 and ``exam`` the same for functions of the repository itself;
    ``latency`` is the median time to the first token in milliseconds. ``samples`` counts for each
    metric what it rests on, ``intervals`` holds 95 % bootstrap intervals.
    """

    codebleu: float | None = None
    humaneval: float | None = None
    exam: float | None = None
    perplexity: float | None = None
    latency: float | None = None
    bits_per_byte: float | None = None
    scored_tokens: int | None = None
    samples: ByMetric[int] = Field(default_factory=dict)
    intervals: ByMetric[tuple[float, float]] = Field(default_factory=dict)
    details: ByMetric[dict[str, Any]] = Field(default_factory=dict)
    """For each metric how it was measured: sampling, hardware, percentiles."""

    not_measured: ByMetric[str] = Field(default_factory=dict)


class Validation(Wire):
    """Measured quality of the model that a job trained, beside the base's and the active model's.

    ``passed`` follows from ``gates`` alone. ``active`` is ``null`` where no other model of the
    project was active; then the base model was the champion and ``champion_id`` is ``null``.
    """

    job_id: str
    model_id: str | None = None
    run_at: Timestamp
    metrics: ValidationMetrics
    baseline: ValidationMetrics | None = None
    active: ValidationMetrics | None = None
    passed: bool | None = None
    policy: str | None = None
    champion_id: str | None = None
    gates: list[GateVerdict] = Field(default_factory=list)
    artifact_ids: list[str] = Field(default_factory=list)
    run_id: str | None = None
    pending_run_id: str | None = None
    """A newer validation of the job that is still under way."""
