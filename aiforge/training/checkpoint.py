"""Training checkpoints: what is needed to continue as if nothing had happened, and no more.

A checkpoint holds, for each trained parameter, its fp32 master and the optimizer's moments, and
the step. The frozen base, the data order, the learning rate and the random generators are not in
it: they follow from the plan and the step. It does not depend on the number of workers or on
how they had divided the state between them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from aiforge.errors import Conflict, NotFound
from aiforge.training.engine import NamedTensors

TENSORS = "state.safetensors"
META = "state.json"
_SEPARATOR = "::"
_BEST = "best"


@dataclass(frozen=True)
class TrainState:
    """The state after ``step`` steps; ``meta`` names what the state belongs to.

    The losses are those that were measured last, for a run that has no step left to take;
    ``best_loss`` and ``worse`` are what early stopping has seen, ``best`` the masters after
    ``best_step`` steps, where that loss was measured. They are in every checkpoint, so that no
    pruning can lose them.
    """

    step: int
    tensors: NamedTensors
    meta: dict[str, Any] = field(default_factory=dict)
    last_loss: float = math.nan
    eval_loss: float | None = None
    best_loss: float | None = None
    worse: int = 0
    best_step: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def save(state: TrainState, directory: Path) -> None:
    """Write a checkpoint; a reader of ``directory`` sees all of it or nothing."""
    partial = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    flat = {
        f"{name}{_SEPARATOR}{kind}": tensor.contiguous()
        for name, kinds in state.tensors.items()
        for kind, tensor in kinds.items()
    } | {f"{name}{_SEPARATOR}{_BEST}": tensor.contiguous() for name, tensor in state.best.items()}
    save_file(flat, partial / TENSORS)
    head = {
        "step": state.step,
        "meta": state.meta,
        "last_loss": state.last_loss,
        "eval_loss": state.eval_loss,
        "best_loss": state.best_loss,
        "worse": state.worse,
        "best_step": state.best_step,
    }
    text = json.dumps(head, sort_keys=True)
    (partial / META).write_text(text, encoding="utf-8")
    for name in (TENSORS, META):
        with (partial / name).open("rb") as stream:
            os.fsync(stream.fileno())
    _exchange(partial, directory)


def _exchange(made: Path, directory: Path) -> None:
    """Put what was made into place; a kill at any point leaves one that ``load`` finds."""
    previous = _previous(directory)
    shutil.rmtree(previous, ignore_errors=True)
    if directory.exists():
        directory.replace(previous)
    made.replace(directory)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.previous")


def find(directory: Path) -> Path | None:
    """Where the checkpoint of a directory is, if there is one."""
    places = (directory, _previous(directory))
    return next((place for place in places if (place / META).exists()), None)


class Writer:
    """Writes checkpoints beside the training in one thread, at most one at a time.

    What a write holds must not change any more: the caller hands over copies.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def begin(self, write: Callable[[], None]) -> None:
        """Start a write after the one before it; raises what that one has raised."""
        self.wait()
        self._pending = self._pool.submit(write)

    def wait(self) -> None:
        """Return when nothing is in flight; raises what the last write has raised, once."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def load(directory: Path, expected: dict[str, Any] | None = None) -> TrainState:
    """Read a checkpoint.

    Args:
        directory: What ``save`` wrote.
        expected: Entries that ``meta`` must have, if any.

    Raises:
        NotFound: There is no checkpoint.
        Conflict: It belongs to another plan.
    """
    found = find(directory)
    if found is None:
        raise NotFound(f"{directory} holds no checkpoint.", code="checkpoint_not_found")
    directory = found
    head = json.loads((directory / META).read_text(encoding="utf-8"))
    for key, value in (expected or {}).items():
        if head["meta"].get(key) != value:
            raise Conflict(
                f"The checkpoint in {directory} was made with another {key}. "
                "Start a new job, or restore the plan it was made with.",
                code="checkpoint_mismatch",
                field=key,
            )
    tensors: NamedTensors = {}
    best: dict[str, torch.Tensor] = {}
    with safe_open(directory / TENSORS, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - the file is no mapping
            name, kind = key.rsplit(_SEPARATOR, 1)
            if kind == _BEST:
                best[name] = file.get_tensor(key)
            else:
                tensors.setdefault(name, {})[kind] = file.get_tensor(key)
    return TrainState(tensors=tensors, best=best, **head)
