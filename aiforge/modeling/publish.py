"""Adapters in PEFT's file format, as plain LoRA on the original base."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aiforge.errors import Failure
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.lora import LoraLinear, adapters_of, inject
from aiforge.modeling.pissa import to_plain_lora

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def plain_lora(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The adapters of a model as (A, B) on the original weights, float32, all of one rank.

    Under PiSSA the rank is twice that of training. A layer whose rank was capped by its size is
    filled up with zeros, so that consumers need no ranks per layer.
    """
    plain = {name: _plain(adapter) for name, adapter in adapters_of(model)}
    rank = max(a.shape[0] for a, _ in plain.values())
    return {name: _padded(a, b, rank) for name, (a, b) in plain.items()}


def publish_adapter(model: nn.Module, directory: Path, base: BaseModel) -> Path:
    """Write the adapters of a model as a plain LoRA that ``peft.PeftModel`` loads on the base.

    Args:
        model: A model whose adapters hold their full parameters (gathered, under ZeRO-3).
        directory: Made where it does not exist.
        base: The original base model.

    Returns:
        The directory.

    Raises:
        Failure: A parameter is not finite; nothing is written then.
    """
    scaling = scaling_of(model)
    return write_adapter(plain_lora(model), scaling, directory, base)


def write_adapter(
    layers: Mapping[str, tuple[Tensor, Tensor]], scaling: float, directory: Path, base: BaseModel
) -> Path:
    """Write (A, B) by layer name in PEFT's file format; see :func:`publish_adapter`."""
    broken = [n for n, ab in layers.items() if not all(torch.isfinite(t).all() for t in ab)]
    if broken:
        raise Failure(
            f"The adapter of {broken[0]} is not finite and was not published; "
            "train with a smaller learning rate.",
            code="adapter_not_finite",
        )
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (a, b) in layers.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = a.contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = b.contiguous()
    save_file(tensors, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    rank = next(iter(layers.values()))[0].shape[0]
    config = _peft_config(base, rank, scaling * rank, {n.rpartition(".")[2] for n in layers})
    (directory / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return directory


def load_adapter(model: nn.Module, directory: Path) -> dict[str, LoraLinear]:
    """Put a published adapter on its base model.

    Returns:
        The adapters by layer name; :func:`aiforge.modeling.lora.merge` folds them in.

    Raises:
        Failure: The files are missing or do not fit the model.
    """
    try:
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(directory / WEIGHTS_FILE)
        rank, alpha, targets = config["r"], config["lora_alpha"], config["target_modules"]
    except Exception as error:  # safetensors raises its own kind
        raise Failure(
            f"The adapter in {directory} cannot be read: {error}", code="adapter_unreadable"
        ) from error
    adapters = inject(model, rank=rank, alpha=alpha, targets=targets, seed=None)
    expected = {}
    for name, adapter in adapters.items():
        expected[f"{_PREFIX}{name}.lora_A.weight"] = (rank, adapter.in_features)
        expected[f"{_PREFIX}{name}.lora_B.weight"] = (adapter.out_features, rank)
    if expected != {key: tuple(tensor.shape) for key, tensor in tensors.items()}:
        raise Failure(
            f"The adapter in {directory} was made for another base model.", code="adapter_mismatch"
        )
    with torch.no_grad():
        for name, adapter in adapters.items():
            a = tensors[f"{_PREFIX}{name}.lora_A.weight"]
            b = tensors[f"{_PREFIX}{name}.lora_B.weight"]
            adapter.lora_A, adapter.lora_B = (
                nn.Parameter(t.to(adapter.weight.device), requires_grad=False) for t in (a, b)
            )
            adapter.rank = a.shape[0]
    return adapters


def scaling_of(model: nn.Module) -> float:
    """The scaling that all adapters of a model share."""
    scalings = {adapter.scaling for _, adapter in adapters_of(model)}
    if len(scalings) != 1:
        raise Failure("The model has no adapters of one scaling.", code="adapter_mismatch")
    return scalings.pop()


@torch.no_grad()
def _plain(adapter: LoraLinear) -> tuple[Tensor, Tensor]:
    a = adapter.lora_A.detach().to("cpu", torch.float32)
    b = adapter.lora_B.detach().to("cpu", torch.float32)
    return to_plain_lora(a, b, *adapter.initial) if adapter.initial else (a, b)


def _padded(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    missing = rank - a.shape[0]
    if missing == 0:
        return a, b
    return (
        torch.cat([a, a.new_zeros(missing, a.shape[1])]),
        torch.cat([b, b.new_zeros(b.shape[0], missing)], dim=1),
    )


def _peft_config(base: BaseModel, rank: int, alpha: float, targets: set[str]) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.location,
        "revision": base.revision,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "inference_mode": True,
    }
