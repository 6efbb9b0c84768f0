"""What a training job would do and take, before it is queued."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from aiforge.schemas.common import Wire
from aiforge.schemas.jobs import Method


class MemoryPlan(Wire):
    """Estimated bytes of one worker by what they hold; ``peak`` is the most at one time.

    ``host`` lies in the machine's memory where the rest lies on a GPU; ``publishing`` is the
    peak of the end, when the trained model and the published one are compared.
    """

    process: int
    weights: int
    adapters: int
    optimizer: int
    gradients: int
    activations: int
    logits: int
    publishing: int
    host: int
    peak: int


class DataPlan(Wire):
    """What a sample of the dataset tells of the whole; ``sampled`` of ``examples`` were read."""

    examples: int
    sampled: int
    dropped_share: float
    truncated_share: float
    trained_share: float
    tokens: int
    rows: int
    steps: int


class TimePlan(Wire):
    """Expected seconds, from a probe of the model's layers on the cluster's own device."""

    device_name: str
    seconds_per_step: float
    seconds: float


class TrainingPlan(Wire):
    """The answer to ``POST /v1/fine-tune?dryRun=true``: nothing is queued.

    ``fits`` is ``null`` where the memory of the devices, or of the model, is not known; where it
    is false, ``changes`` are the settings of the request with which it would be true. ``data``
    and ``time`` are ``null`` where there is no cluster to measure them on.
    """

    base_model: str
    method: Method
    parameters: int | None
    trained_parameters: int | None
    device: Literal["cpu", "cuda"]
    num_workers: int
    min_workers: int
    zero_stage: int
    zero_stage_reason: str
    rows_per_step: int
    max_seq_length: int
    memory: MemoryPlan | None
    available_bytes: int | None
    """Memory that each worker can have."""

    fits: bool | None
    changes: dict[str, Any] = Field(default_factory=dict)
    disk_bytes: int
    free_disk_bytes: int | None
    resumes_from: str | None = None
    """The older job whose newest checkpoint is taken up."""

    data: DataPlan | None = None
    time: TimePlan | None = None
