"""What a validation measures, and the gate that its figures must pass."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel, to_snake

from aiforge.schemas.common import Request, Wire
from aiforge.schemas.runs import RunStatus

Metric = Literal["codebleu", "humaneval", "exam", "perplexity", "bits_per_byte", "latency"]

Value = TypeVar("Value")

METRICS: tuple[Metric, ...] = get_args(Metric)


def _snake(given: Any) -> Any:
    if isinstance(given, dict):
        return {_snake(key): value for key, value in given.items()}
    return to_snake(given) if isinstance(given, str) else given


def _camel(given: Any) -> Any:
    if isinstance(given, dict):
        return {to_camel(key): value for key, value in given.items()}
    return to_camel(given)


MetricName = Annotated[Metric, BeforeValidator(_snake), PlainSerializer(_camel, return_type=str)]
"""A metric; on the wire by the name of its key."""

ByMetric = Annotated[
    dict[Metric, Value],
    BeforeValidator(_snake),
    PlainSerializer(_camel, return_type=dict[str, Value]),
]
"""Something for each of some metrics."""

LOWER_IS_BETTER: frozenset[str] = frozenset({"perplexity", "bits_per_byte", "latency"})


class GateStatus(StrEnum):
    """What a gate says of one metric."""

    PASS = "pass"  # noqa: S105 -- no password
    FAIL = "fail"
    NOT_EVALUATED = "not_evaluated"


class Threshold(Wire):
    """What one metric must reach."""

    floor: float | None = None
    """Worst acceptable value: the least, or the most where lower is better."""

    max_regression: float | None = Field(default=None, ge=0)
    """How much worse than the champion's it may be."""

    relative: bool = False
    """``max_regression`` is a share of the champion's value, not a difference."""

    min_samples: int = Field(default=1, ge=1)
    """With fewer samples nothing is said."""

    required: bool = False
    """The gate does not open unless this metric passes."""

    @model_validator(mode="after")
    def _bounded(self) -> Threshold:
        if self.floor is None and self.max_regression is None:
            raise ValueError("a threshold needs floor, max_regression, or both")
        return self


class CodeBleuSize(Wire):
    """How much CodeBLEU measures."""

    examples: int = Field(default=100, ge=0)
    """Held-out examples whose answer holds code; 0 measures nothing."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest answer."""


class HumanEvalSize(Wire):
    """How much HumanEval measures."""

    problems: int | None = Field(default=None, ge=0)
    """Problems, from the first on; all by default, 0 measures nothing."""

    samples: int = Field(default=1, ge=1, le=200)
    """Completions of each problem."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 takes the likeliest token each time; then one sample says it all."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest completion."""


class ExamSize(Wire):
    """How much of the repository's own exam is sat."""

    items: int = Field(default=100, ge=0)
    """Functions; 0 measures nothing."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest completion."""


class LatencySize(Wire):
    """How much latency measures."""

    requests: int = Field(default=16, ge=0)
    """Timed requests; 0 measures nothing."""

    max_new_tokens: int = Field(default=64, ge=2)
    """Tokens of each answer."""


class PerplexitySize(Wire):
    """How much perplexity measures."""

    rows: int | None = Field(default=None, ge=1)
    """Held-out rows, from the first on; all by default."""


class Measures(Wire):
    """How much is measured."""

    perplexity: PerplexitySize = Field(default_factory=PerplexitySize)
    codebleu: CodeBleuSize = Field(default_factory=CodeBleuSize)
    humaneval: HumanEvalSize = Field(default_factory=HumanEvalSize)
    exam: ExamSize = Field(default_factory=ExamSize)
    latency: LatencySize = Field(default_factory=LatencySize)
    seed: int = 0
    """Of sampling and of intervals."""


class GatePolicy(Wire):
    """A file of ``configs/gates``: what is measured, and what the figures must reach."""

    name: str = ""
    """Of the file, without its ending."""

    below_parameters: int | None = Field(default=None, ge=1)
    """Chosen by itself for base models with fewer parameters; the smallest bound wins."""

    measure: Measures = Field(default_factory=Measures)
    gates: ByMetric[Threshold] = Field(min_length=1)


class GateVerdict(Wire):
    """What the gate says of one metric, and why, for a person."""

    metric: MetricName
    status: GateStatus
    reason: str
    required: bool = False
    value: float | None = None
    champion: float | None = None
    samples: int | None = None


class ValidationRequest(Request):
    """``POST /jobs/:jobId/validation``."""

    policy: str | None = Field(default=None, max_length=100, pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of a gate policy; chosen by the base model's size by default."""

    exam_items: int | None = Field(default=None, ge=0, le=200)
    """Functions of the repository's exam to sit; 0 sits none, absent as many as the policy says.
    There is an exam only where the dataset was built with one (``raft.examItems``)."""


class ValidationStarted(Wire):
    """The validation that was queued, or is under way already."""

    job_id: str
    run_id: str
    status: RunStatus
    message: str
