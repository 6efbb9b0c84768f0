"""From a plan to a module that can be trained: base, adapters, factors, loss."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from aiforge.modeling import bases
from aiforge.modeling.load import load_model
from aiforge.modeling.lora import LoraLinear, inject
from aiforge.modeling.pissa import (
    Factors,
    FactorSpec,
    apply_factors,
    compute_factors,
    layer_weights,
    load_factors,
    publish_factors,
    save_factors,
)
from aiforge.storage import Storage
from aiforge.training import attention
from aiforge.training.loss import CausalLoss
from aiforge.training.plan import TrainPlan


class Group(Protocol):
    """The workers that train together, as far as Python objects are concerned."""

    rank: int
    world: int

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""


@dataclass(frozen=True)
class Assembled:
    """A model ready for training.

    ``factors`` is a hash of PiSSA's factors, if there are any; ``parameters`` and ``trained``
    count values, before an engine divides them among workers.
    """

    model: Any
    module: CausalLoss
    factors: str | None
    parameters: int
    trained: int


def assemble(plan: TrainPlan, storage: Storage, group: Group, device: torch.device) -> Assembled:
    """Load the base and make it trainable as the plan's method says; all workers must call."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = load_model(plan.base, dtype=dtype, device=device, attention=attention.register())
    config, factors = plan.config, None
    if config.method == "full":
        model.requires_grad_(True)
    else:
        adapters = inject(
            model,
            rank=config.rank,
            alpha=config.rank,
            targets=config.target_modules,
            seed=config.seed,
        )
        if config.method == "pissa":
            factors = _start_from_factors(plan, storage, group, adapters, dtype)
    module = CausalLoss(model)
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    return Assembled(model, module, factors, sum(size for size, _ in sizes), trained)


def _start_from_factors(
    plan: TrainPlan,
    storage: Storage,
    group: Group,
    adapters: dict[str, LoraLinear],
    dtype: torch.dtype,
) -> str:
    spec = FactorSpec(
        base_hash=bases.content_hash(plan.base),
        targets=tuple(sorted(adapters)),
        rank=plan.config.rank,
        alpha=plan.config.rank,
        niter=plan.factor_niter,
        seed=plan.config.seed,
        dtype=str(dtype).removeprefix("torch."),
    )
    factors = load_factors(storage, spec, list(adapters))
    if not all(group.gather(factors is not None)):
        factors = _compute(storage, group, adapters, spec)
    assert factors is not None
    apply_factors(adapters, factors)
    return _hash(factors)


def _compute(
    storage: Storage, group: Group, adapters: dict[str, LoraLinear], spec: FactorSpec
) -> Factors | None:
    """Each worker decomposes its share of the layers; all read the whole from the storage."""
    weights = layer_weights(adapters)
    mine = sorted(weights)[group.rank :: group.world]
    part = save_factors(storage, spec, compute_factors({n: weights[n] for n in mine}, spec))
    parts = group.gather(part)
    if group.rank == 0:
        publish_factors(storage, spec, parts)
    group.gather(None)
    return load_factors(storage, spec, list(adapters))


def _hash(factors: Factors) -> str:
    digest = hashlib.sha256()
    for name in sorted(factors):
        for tensor in factors[name]:
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
