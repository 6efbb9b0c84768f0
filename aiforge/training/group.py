"""A worker's place in a ``torch.distributed`` group, whoever has started the group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiforge.training import checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

    from aiforge.training.checkpoint import TrainState
    from aiforge.training.engine import Engine, OptimizerFactory
    from aiforge.training.plan import TrainPlan
    from aiforge.training.watch import Beats


class GroupSession:
    """What workers have in common (see ``session.Session``), with checkpoints in a directory.

    Args:
        rank: Of this worker in the group.
        world: Number of workers.
        local_world: Workers on this machine.
        device: Where this worker computes.
        directory: Where rank 0 keeps the newest checkpoint; all workers must see it.
    """

    def __init__(
        self, rank: int, world: int, local_world: int, device: torch.device, directory: Path
    ) -> None:
        self.rank, self.world, self.local_world = rank, world, local_world
        self.device = device
        self.directory = directory
        self._writer = checkpoint.Writer()

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""
        from torch import distributed

        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def beats(self) -> Beats:
        """A board on the store through which the group met."""
        from torch.distributed.distributed_c10d import _get_default_store

        from aiforge.training.watch import StoreBeats

        store: Any = _get_default_store()
        return StoreBeats(store.clone())

    def engine(self, module: nn.Module, optimizers: OptimizerFactory, plan: TrainPlan) -> Engine:
        """DeepSpeed on the group that is there already."""
        from aiforge.training.deepspeed_config import shipped_config
        from aiforge.training.deepspeed_engine import DeepSpeedEngine

        config = shipped_config(plan.zero_stage, plan.config.offload)
        return DeepSpeedEngine(module, optimizers, config, self.device)

    @contextmanager
    def restore(self) -> Iterator[Path | None]:
        """The checkpoint that ``keep`` wrote last."""
        yield checkpoint.find(self.directory) and self.directory

    def keep(self, state: TrainState | None, step: int) -> None:
        """Replace the checkpoint."""
        if state is not None:
            self._writer.begin(partial(checkpoint.save, state, self.directory))

    def settle(self) -> None:
        """Wait until the checkpoint is written."""
        self._writer.wait()
