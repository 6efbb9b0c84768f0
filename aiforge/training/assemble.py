"""From a plan to a module that can be trained: base, adapters, factors, loss."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from aiforge.modeling import bases
from aiforge.modeling.linears import Shape
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
from aiforge.training.flops import StepFlops
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
    count values, before an engine divides them among workers and before a base is quantized.
    """

    model: Any
    module: CausalLoss
    factors: str | None
    parameters: int
    trained: int
    flops: StepFlops


def assemble(plan: TrainPlan, storage: Storage, group: Group, device: torch.device) -> Assembled:
    """Load the base and make it trainable as the plan's method says; all workers must call.

    A base that is to be quantized is decomposed in full precision, on the CPU, and goes to the
    device in 4 bits, layer by layer.
    """
    config, factors = plan.config, None
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    exact = torch.float32 if config.quantize_base else dtype
    place = torch.device("cpu") if config.quantize_base else device
    model: Any = load_model(plan.base, dtype=exact, device=place, attention=attention.register())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if config.method == "full":
        model.requires_grad_(True)
    else:
        adapters = inject(
            model,
            rank=config.rank,
            alpha=config.rank,
            targets=config.target_modules,
            seed=None if config.method == "pissa" else config.seed,
        )
        if config.method == "pissa":
            factors = _start_from_factors(plan, storage, group, adapters, exact)
        if config.quantize_base:
            _quantize(model, adapters, device, dtype)
    if config.activation_checkpointing:
        _checkpoint_activations(model)
    module = CausalLoss(model)
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    flops = StepFlops(
        Shape.of(bases.read_config(plan.base)), None if config.method == "full" else trained
    )
    parameters += 0 if config.method == "full" else trained
    return Assembled(model, module, factors, parameters, trained, flops)


def _checkpoint_activations(model: Any) -> None:
    # The method was renamed in transformers 5.23; its first argument is the same.
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})


def _quantize(
    model: Any, adapters: dict[str, LoraLinear], device: torch.device, dtype: torch.dtype
) -> None:
    for adapter in adapters.values():
        adapter.quantize_(device)
    for parameter in model.parameters():
        # What is trained stays in float32: it is its own master.
        wanted = parameter.dtype if parameter.requires_grad else dtype
        # Weights are views of one mapping of their file, which lives as long as any of them does.
        parameter.data = parameter.data.to(device, wanted, copy=True)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)


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
        seed=plan.config.seed if plan.factor_seed is None else plan.factor_seed,
        dtype=str(dtype).removeprefix("torch."),
        quantization="nf4" if plan.config.quantize_base else None,
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
            digest.update(tensor.contiguous().view(torch.uint8).flatten().numpy().data)
    return digest.hexdigest()
