"""Perplexity over completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aiforge.modeling.head import hidden_states, project, row_chunks
from aiforge.modeling.prompts import IGNORED, Encoded

Progress = Callable[[float], None]

BATCH_TOKENS = 4096
"""Tokens, padding included, that go through the model at once."""


@dataclass(frozen=True)
class Perplexity:
    """What a model made of some completions.

    Attributes:
        nll: Summed negative log-likelihood of the scored tokens, in nats.
        tokens: Number of scored tokens: completions with the token that ends them.
        bytes: UTF-8 bytes of the scored text. Per byte, models with different tokenizers compare.
        examples: Number of scored examples.
        skipped: Examples that had nothing to score.
    """

    nll: float
    tokens: int
    bytes: int
    examples: int = 0
    skipped: int = 0

    @property
    def perplexity(self) -> float:
        """``exp(nll / tokens)``; infinite where that overflows."""
        try:
            return math.exp(self.nll / self.tokens) if self.tokens else math.nan
        except OverflowError:
            return math.inf

    @property
    def bits_per_byte(self) -> float:
        """``nll / (ln 2 · bytes)``."""
        return self.nll / (math.log(2) * self.bytes) if self.bytes else math.nan


@dataclass(frozen=True)
class Window:
    """A stretch of one example that fits the context; ``scored`` are positions within it.

    A position's token is predicted from the positions before it, so 0 is never among them.
    """

    ids: list[int]
    scored: list[int]


def windows(example: Encoded, length: int, stride: int) -> Iterator[Window]:
    """Cut an example into windows so that each label is scored once, with the most context.

    Every window but the first begins ``stride`` behind the one before, and scores only what that
    one did not reach; so a token that is not in the first window has at least
    ``length - stride`` tokens of context. Windows with nothing to score are left out.

    Args:
        example: The tokens; labels at position 0 are not scored.
        length: Largest window, in tokens, at least 2.
        stride: At least 1 and below ``length``.
    """
    if not 0 < stride < length:
        raise ValueError(f"stride {stride} is not in 1..{length - 1}")
    total = len(example.input_ids)
    reached = 1
    for start in range(0, total, stride):
        end = min(start + length, total)
        scored = [i - start for i in range(reached, end) if example.labels[i] != IGNORED]
        if scored:
            yield Window(example.input_ids[start : start + scored[-1] + 1], scored)
        reached = max(reached, end)
        if end == total:
            return


@torch.inference_mode()
def score(
    model: nn.Module,
    examples: Sequence[Encoded],
    *,
    byte_counts: Sequence[int],
    length: int,
    stride: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Perplexity:
    """Score the trained tokens of examples.

    Logits are made for scored positions only, log-likelihoods in float32, their sum in float64.

    Args:
        model: In evaluation mode; its device is used.
        examples: Of any length; what exceeds ``length`` is scored in strided windows.
        byte_counts: UTF-8 bytes of each example's scored text.
        length: Largest window in tokens, the model's context length at the most.
        stride: How far a window begins behind the one before; half of ``length`` by default.
        batch_tokens: Tokens per forward pass, padding included.
        progress: Called with the share done, 0 to 1, after each batch; may raise to stop.
    """
    cut = [list(windows(example, length, stride or length // 2)) for example in examples]
    everything = [window for one in cut for window in one]
    total = sum(len(window.ids) for window in everything)
    nll, done = 0.0, 0
    for batch in _batches(everything, batch_tokens):
        nll += _batch_nll(model, batch)
        done += sum(len(window.ids) for window in batch)
        if progress:
            progress(done / total)
    scored = [bool(one) for one in cut]
    return Perplexity(
        nll=nll,
        tokens=sum(len(window.scored) for window in everything),
        bytes=sum(count for count, counts in zip(byte_counts, scored, strict=True) if counts),
        examples=sum(scored),
        skipped=len(scored) - sum(scored),
    )


def _batches(items: list[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Windows of like length together, longest first, so that a lack of memory shows at once."""
    batch: list[Window] = []
    for window in sorted(items, key=lambda w: len(w.ids), reverse=True):
        if batch and len(batch[0].ids) * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _batch_nll(model: nn.Module, batch: list[Window]) -> float:
    device = next(model.parameters()).device
    width = max(len(window.ids) for window in batch)
    # Padding stands behind every real token, which under causal attention cannot see it: no mask.
    ids = torch.tensor([w.ids + [0] * (width - len(w.ids)) for w in batch], device=device)
    hidden = hidden_states(model, ids)
    rows = [(r, c) for r, window in enumerate(batch) for c in window.scored]
    row, column = torch.tensor(rows, device=device).unbind(1)
    return _nll(model, hidden[row, column - 1], ids[row, column])


def _nll(model: nn.Module, hidden: Tensor, targets: Tensor) -> float:
    total = 0.0
    vocabulary = int(model.get_output_embeddings().weight.shape[0])  # type: ignore[operator]
    for rows in row_chunks(len(targets), vocabulary):
        logits = project(model, hidden[rows]).float()
        losses = functional.cross_entropy(logits, targets[rows], reduction="none")
        total += float(losses.double().sum())
    return total
