"""The engine of distributed training: DeepSpeed ZeRO on the process group that is there already.

Import this module inside a worker only: deepspeed reads the environment when it is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from aiforge.training.data import Batch
from aiforge.training.deepspeed_config import DeepSpeedConfig
from aiforge.training.engine import NamedTensors, OptimizerFactory

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
from deepspeed.runtime import compiler
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_get_local_fp32_param,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)

logging.getLogger("DeepSpeed").setLevel(logging.WARNING)

MOMENTS = ("exp_avg", "exp_avg_sq")


class DeepSpeedEngine:
    """One worker of a group that ``torch.distributed`` has joined.

    Args:
        module: Called with a batch it gives the summed loss.
        optimizers: Makes the one optimizer of the trainable parameters; Adam's moments expected.
        config: How ZeRO divides the state.
        device: Where the worker computes.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizers: OptimizerFactory,
        config: DeepSpeedConfig,
        device: torch.device,
    ) -> None:
        if device.type == "cpu":
            _avoid_compilation()
        self.device = device
        self.rank = torch.distributed.get_rank()
        self.world = torch.distributed.get_world_size()
        self.stage = config.zero_optimization.stage
        self.clip = config.gradient_clipping
        self.named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        bf16 = any(parameter.dtype == torch.bfloat16 for _, parameter in self.named)
        (optimizer,) = optimizers(self.named)
        # Without ZeRO in float32, DeepSpeed clips but does not tell the norm.
        self._clips = self.stage == 0 and not bf16
        self._engine: Any = deepspeed.initialize(
            model=module,
            optimizer=optimizer,
            config=config.for_engine(bf16=bf16, clip=not self._clips),
            dist_init_required=False,
        )[0]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        loss: torch.Tensor = self._engine(batch)
        return loss

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits of a batch."""
        logits: torch.Tensor = self._engine(batch, logits=True)
        return logits

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add the gradients of a loss, and reduce them over the workers with the last one."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, learning_rate: float) -> float:
        """Clip and update; the gradient norm before clipping, infinite where it overflowed."""
        norm = None
        if self._clips:
            norm = nn.utils.clip_grad_norm_([p for _, p in self.named], self.clip)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.set_gradient_accumulation_boundary(True)
        self._engine.step()
        if getattr(self._engine.optimizer, "overflow", False):
            return float("inf")
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Element-wise sum over the workers."""
        total = values.to(self.device, copy=True)
        torch.distributed.all_reduce(total)
        return total.cpu()

    def training(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._engine.train(mode)

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """Make the trained parameters whole on every worker."""
        parameters = [parameter for _, parameter in self.named] if self.stage == 3 else []
        with deepspeed.zero.GatheredParameters(parameters, enabled=self.stage == 3):
            yield

    def export_state(self) -> NamedTensors:
        """Masters, moments and step counts of every trained parameter; all workers must call."""
        self._link()
        return {name: self._export(parameter) for name, parameter in self.named}

    def import_state(self, state: NamedTensors) -> None:
        """Continue from exported masters and moments, whatever world and stage they came from."""
        step = max(float(tensors["step"]) for tensors in state.values())
        for held in self._held:
            self._inner.state[held] = {key: torch.zeros_like(held) for key in MOMENTS} | {
                "step": torch.tensor(step, device=held.device)
            }
        self._link()
        with torch.no_grad():
            for name, parameter in self.named:
                self._import(parameter, state[name])

    @property
    def _inner(self) -> torch.optim.Optimizer:
        optimizer = self._engine.optimizer
        inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
        return inner

    @property
    def _plain(self) -> bool:
        """Whether the optimizer holds the parameters as they are, not as flat partitions."""
        return self._inner is self._engine.optimizer

    @property
    def _held(self) -> list[torch.Tensor]:
        """The tensors that the optimizer updates on this worker."""
        if self._plain:
            return [parameter for _, parameter in self.named]
        optimizer = self._engine.optimizer
        flat = (
            "fp32_partitioned_groups_flat" if self.stage == 3 else "single_partition_of_fp32_groups"
        )
        return list(getattr(optimizer, flat))

    def _link(self) -> None:
        """Let DeepSpeed find the moments of each parameter in its partitions (stages 1 and 2).

        It does so itself after the first group's first step, when other groups have none yet.
        """
        if not self._plain and self.stage < 3:
            self._engine.optimizer._hp_optimizer_states_linked = False
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _export(self, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
        if self._plain:
            moments = self._inner.state[parameter]
            tensors = {"master": parameter} | {key: moments[key] for key in MOMENTS}
        else:
            tensors = {"master": safe_get_full_fp32_param(parameter)} | {
                key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS
            }
        step = self._inner.state[self._held[0]]["step"]
        return {
            key: value.detach().to("cpu", torch.float32, copy=True)
            for key, value in (tensors | {"step": step}).items()
        }

    def _import(self, parameter: nn.Parameter, tensors: dict[str, torch.Tensor]) -> None:
        whole = {key: value.to(self.device) for key, value in tensors.items()}
        if self._plain:
            parameter.copy_(whole["master"])
            for key in MOMENTS:
                self._inner.state[parameter][key].copy_(whole[key])
            return
        if self.stage < 3:
            for key in MOMENTS:
                safe_set_full_optimizer_state(parameter, whole[key], key)
            safe_set_full_fp32_param(parameter, whole["master"])
            parameter.copy_(whole["master"])
            return
        for key in MOMENTS:
            safe_set_local_optimizer_state(parameter, self._mine(parameter, whole[key]), key)
        safe_set_local_fp32_param(parameter, self._mine(parameter, whole["master"]))
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.copy_(whole["master"])

    def _mine(self, parameter: nn.Parameter, whole: torch.Tensor) -> torch.Tensor:
        """This worker's part under stage 3, padded as DeepSpeed pads what does not divide evenly.

        DeepSpeed's own functions that set the whole of a parameter cannot do the last part.
        """
        size = safe_get_local_fp32_param(parameter).numel()
        padded = nn.functional.pad(whole.flatten(), (0, size * self.world - whole.numel()))
        return padded.narrow(0, size * self.rank, size)


def _avoid_compilation() -> None:
    """Keep a start on CPU from compiling what is not used.

    DeepSpeed's shared-memory collectives take half a minute of g++ at the first start of a
    machine, to save milliseconds of a step that gloo takes as well. Its check whether the
    optimizer is Muon compiles Muon's kernels, seconds of every start of every worker.
    """
    deepspeed.ops.__compatible_ops__ = {}
    compiler.compile = lambda: compiler.dummy_decorator
