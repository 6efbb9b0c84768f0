"""A worker's place in its group: what the training loop asks of whoever has started it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from aiforge.training import checkpoint
from aiforge.training.checkpoint import TrainState
from aiforge.training.engine import Engine, LocalEngine, OptimizerFactory
from aiforge.training.plan import TrainPlan
from aiforge.training.watch import Beats, LocalBeats


class Session(Protocol):
    """One worker's place in the group, and where the group keeps its checkpoints."""

    rank: int
    world: int
    local_world: int
    device: torch.device

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""

    def beats(self) -> Beats:
        """Where the workers write how far they are."""

    def engine(self, module: nn.Module, optimizers: OptimizerFactory, plan: TrainPlan) -> Engine:
        """The engine that holds a module for the group."""

    def restore(self) -> AbstractContextManager[Path | None]:
        """The newest checkpoint as a local directory; ``None`` at the first start."""

    def keep(self, state: TrainState | None, step: int) -> None:
        """Begin to keep a checkpoint; all workers call, rank 0 brings a state that stays as it is.

        It is written while training goes on. The one before is waited for first, and what kept
        that one from being written is raised.
        """

    def settle(self) -> None:
        """Wait until no checkpoint is being written; raise what kept the last one from it."""


@contextmanager
def settling(session: Session) -> Iterator[None]:
    """Leave no checkpoint half written; what ended the training counts before what a write says."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            session.settle()
        raise
    session.settle()


class LocalSession:
    """The only worker, in this process, with checkpoints in a directory."""

    rank = 0
    world = 1
    local_world = 1

    def __init__(self, directory: Path, device: torch.device | None = None) -> None:
        self.directory = directory
        self.device = device or torch.device("cpu")
        self._writer = checkpoint.Writer()

    def gather(self, value: Any) -> list[Any]:
        """The value itself."""
        return [value]

    def beats(self) -> Beats:
        """A board in this process."""
        return LocalBeats()

    def engine(self, module: nn.Module, optimizers: OptimizerFactory, plan: TrainPlan) -> Engine:
        """Plain torch."""
        return LocalEngine(module, optimizers, device=self.device)

    @contextmanager
    def restore(self) -> Iterator[Path | None]:
        """The checkpoint that ``keep`` wrote last."""
        yield checkpoint.find(self.directory) and self.directory

    def keep(self, state: TrainState | None, step: int) -> None:
        """Replace the checkpoint."""
        assert state is not None
        self._writer.begin(partial(checkpoint.save, state, self.directory))

    def settle(self) -> None:
        """Wait until the checkpoint is written."""
        self._writer.wait()
