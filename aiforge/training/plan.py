"""What a fine-tuning job is to do and what it did; imports neither torch nor ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from aiforge.modeling import bases
from aiforge.modeling.bases import BaseModel
from aiforge.schemas.jobs import JobConfig
from aiforge.schemas.runs import MetricPoint

DEFAULT_MAX_LENGTH = 2048
"""Longest example in tokens where the job names no length; never beyond the model's own."""


class Reporter(Protocol):
    """Takes what a job has to say; picklable, and no call waits or raises."""

    def metrics(self, points: Sequence[MetricPoint]) -> None:
        """Steps were measured."""

    def log(self, message: str, level: str = "info") -> None:
        """One line for the job's log."""

    def progress(self, fraction: float, stage: str | None = None, **metrics: Any) -> None:
        """How much of the training is done, 0 to 1; ``metrics`` are fields of ``JobMetrics``."""


class Silence:
    """A reporter to nobody."""

    def metrics(self, points: Sequence[MetricPoint]) -> None:
        """Nothing."""

    def log(self, message: str, level: str = "info") -> None:
        """Nothing."""

    def progress(self, fraction: float, stage: str | None = None, **metrics: Any) -> None:
        """Nothing."""


@dataclass(frozen=True)
class TrainPlan:
    """One fine-tuning job; picklable.

    ``dataset_path`` is the storage path of a directory with ``train/*.parquet`` and, where there
    is one, ``validation/*.parquet``. Checkpoints are taken every ``checkpoint_every`` steps and
    at the end; ``max_failures`` dead workers are replaced. ``start_from`` is the storage path of
    an older job's checkpoint, ``factor_seed`` the seed of that job's PiSSA factors.
    ``cluster_limits`` is what the cluster can grow to for it, by Ray's names.
    """

    job_id: str
    base: BaseModel
    config: JobConfig
    storage_uri: str
    dataset_path: str
    checkpoint_every: int = 20
    max_failures: int = 3
    factor_niter: int | None = 8
    """Power iterations of PiSSA's decomposition; ``None`` decomposes in full."""

    start_from: str | None = None
    factor_seed: int | None = None
    cluster_limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def zero_stage(self) -> int:
        """DeepSpeed's stage; 0 where none was given or chosen."""
        return self.config.zero_stage or 0

    @property
    def max_length(self) -> int:
        """Longest row in tokens."""
        longest = bases.context_length(self.base)
        return min(self.config.max_seq_length or DEFAULT_MAX_LENGTH, longest)

    @property
    def rows_per_step(self) -> int:
        """Packed rows of one optimizer step, whatever the number of workers that share them."""
        config = self.config
        return config.num_workers * config.batch_size * config.gradient_accumulation


@dataclass(frozen=True)
class TrainResult:
    """What a finished job leaves behind.

    ``adapter_path`` is a storage path: a plain LoRA in PEFT's format, or a whole model in
    safetensors after ``full``. ``tokens_per_second`` counts no padding and only the steps of the
    attempt that finished. ``logit_difference`` is the largest difference that was found between
    the trained model and the published files. ``mfu`` is the mean over those steps, ``null`` where
    the device's peak is not known.
    """

    steps: int
    final_loss: float
    eval_loss: float | None
    train_tokens: int
    tokens_per_second: float | None
    adapter_path: str
    logit_difference: float
    stopped_early: bool = False
    mfu: float | None = None
    peak_memory_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return asdict(self)


@dataclass(frozen=True)
class Probe:
    """What was measured of a plan before it is carried out.

    ``sampled`` of ``examples`` were tokenised: ``dropped`` of them were of no use, ``truncated``
    cut; the others became ``tokens``, ``trained`` of them, in ``rows``. The time is that of one
    worker's forward and backward pass over a micro-batch of full rows.
    """

    examples: int
    sampled: int
    dropped: int
    truncated: int
    tokens: int
    trained: int
    rows: int
    device_name: str
    seconds_per_micro_batch: float
