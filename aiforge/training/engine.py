"""What the loop needs of whoever holds the parameters, and the plain torch implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import nn

from aiforge.training.data import Batch

NamedTensors = dict[str, dict[str, torch.Tensor]]
"""Tensors of each trained parameter: ``master`` (fp32) and the optimizer's moments."""


class Engine(Protocol):
    """One worker's hold on the model: gradients, updates, and sums over all workers."""

    rank: int
    world: int
    device: torch.device

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch, with its graph where gradients are enabled."""

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (T, vocabulary) of a batch; all workers must call, each with any batch."""

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add the gradients of a loss; ``last`` marks the last one before ``step``."""

    def step(self, learning_rate: float) -> float:
        """Average the gradients over the workers, clip, update; the norm before clipping."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Element-wise sum over the workers."""

    def training(self, mode: bool) -> None:
        """Switch between training and evaluation."""

    def gathered(self) -> AbstractContextManager[None]:
        """A context in which every worker's trained parameters are whole."""

    def export_state(self) -> NamedTensors:
        """Masters and moments of every trained parameter, on the CPU; all workers must call."""

    def import_state(self, state: NamedTensors) -> None:
        """Continue from what ``export_state`` gave, on any number of workers."""


OptimizerFactory = Callable[[list[tuple[str, nn.Parameter]]], list[torch.optim.Optimizer]]


def adamw(
    named: Sequence[tuple[str, nn.Parameter]], weight_decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) that decays matrices only."""
    matrices = [parameter for _, parameter in named if parameter.dim() > 1]
    vectors = [parameter for _, parameter in named if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=0.0, betas=betas, fused=True
    )


class LocalEngine:
    """Plain torch in one process.

    Args:
        module: Called with a batch it gives the summed loss.
        optimizers: Makes the optimizers of the trainable parameters.
        clip: Largest gradient norm.
    """

    rank = 0
    world = 1

    def __init__(
        self,
        module: nn.Module,
        optimizers: OptimizerFactory,
        *,
        clip: float = 1.0,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.module = module.to(self.device)
        self.named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.optimizers = optimizers(self.named)
        self.clip = clip

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        loss: torch.Tensor = self.module(batch)
        return loss

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits of a batch."""
        logits: torch.Tensor = self.module(batch, logits=True)
        return logits

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, learning_rate: float) -> float:
        """Clip and update; the gradient norm before clipping."""
        norm = nn.utils.clip_grad_norm_([p for _, p in self.named], self.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The values themselves: there is one worker."""
        return values

    def training(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self.module.train(mode)

    def gathered(self) -> AbstractContextManager[None]:
        """Nothing: the parameters are whole."""
        return nullcontext()

    def export_state(self) -> NamedTensors:
        """Masters and moments by parameter name."""
        moments = {p: s for o in self.optimizers for p, s in o.state.items()}
        return {
            name: {
                key: torch.as_tensor(value).detach().to("cpu", copy=True)
                for key, value in ({"master": parameter} | moments.get(parameter, {})).items()
            }
            for name, parameter in self.named
        }

    def import_state(self, state: NamedTensors) -> None:
        """Continue from exported masters and moments."""
        owner = {
            parameter: optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        with torch.no_grad():
            for name, parameter in self.named:
                tensors = dict(state[name])
                parameter.copy_(tensors.pop("master"))
                moments = {key: value.clone() for key, value in tensors.items()}
                owner[parameter].state[parameter] = moments
