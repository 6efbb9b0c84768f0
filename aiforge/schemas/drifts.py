"""How a model fares on code that changed since it was trained."""

from __future__ import annotations

from pydantic import Field

from aiforge.schemas.common import Wire


class LossEstimate(Wire):
    """Loss per token over a set of examples, in nats, with its standard error between examples."""

    mean: float
    standard_error: float
    examples: int
    tokens: int
    perplexity: float


class Commit(Wire):
    """One commit that is new since the model's data."""

    id: str
    subject: str


class Drift(Wire):
    """What was measured of one model on what changed since its data was read.

    ``changed`` is the loss on examples about changed chunks, ``held_out`` on the validation split
    of the dataset that the model was trained on. Both are ``None`` where too little changed to
    measure, or no question can be asked about it; ``unmeasured`` says so.
    """

    model_id: str
    changed: LossEstimate | None = None
    held_out: LossEstimate | None = None
    changed_chunks: int
    changed_share: float
    changed_files: list[str] = Field(default_factory=list)
    removed_files: list[str] = Field(default_factory=list)
    commits: list[Commit] = Field(default_factory=list)
    unmeasured: str | None = None
