"""How much a model is surprised by each example, so that two sets of examples can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiforge.errors import Failure
from aiforge.evaluation.perplexity import Progress, score
from aiforge.evaluation.validate import Models
from aiforge.modeling.bases import BaseModel, context_length
from aiforge.modeling.load import load_tokenizer
from aiforge.modeling.prompts import encode_example


@dataclass(frozen=True)
class Loss:
    """Summed negative log-likelihood, in nats, of the ``tokens`` of one example's completion."""

    nll: float
    tokens: int


def example_losses(
    base: BaseModel,
    adapter: Path | None,
    sets: Mapping[str, Iterable[Mapping[str, Any]]],
    max_length: int,
    progress: Progress | None = None,
) -> dict[str, list[Loss]]:
    """Losses of every example of several sets under one model, which is loaded once.

    Args:
        adapter: Directory of a published adapter or whole model; ``None`` for the base itself.
        sets: Rows with ``instruction``, ``input`` and ``output``, by a name of the set.
        max_length: Window in tokens; capped by the model's context length.
        progress: Called with the share done, 0 to 1; may raise to stop.

    Raises:
        Failure: A set has nothing to score.
    """
    tokenizer = load_tokenizer(base)
    window = min(max_length, context_length(base))
    encoded = {
        name: [e for row in rows if (e := encode_example(tokenizer, row, window)) is not None]
        for name, rows in sets.items()
    }
    for name, examples in encoded.items():
        if not examples:
            raise Failure(f"Nothing of the {name} can be scored.", code="nothing_to_score")
    model = Models(base).get(adapter)
    total = sum(len(examples) for examples in encoded.values())
    done = 0
    losses: dict[str, list[Loss]] = {name: [] for name in encoded}
    for name, examples in encoded.items():
        for example in examples:
            one = score(model, [example], byte_counts=[0], length=window)
            losses[name].append(Loss(one.nll, one.tokens))
            done += 1
            if progress and done % 16 == 0:
                progress(done / total)
    return losses
