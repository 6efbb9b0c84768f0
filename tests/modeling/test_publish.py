"""A published adapter is a plain LoRA that PEFT loads on the original base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_models import VOCABULARY, make_base, make_model

from aiforge.errors import Failure
from aiforge.modeling import lora, pissa
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_model
from aiforge.modeling.publish import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_adapter,
    plain_lora,
    publish_adapter,
)

IDS = torch.arange(48).view(2, 24) * 7 % VOCABULARY


def trained(base: BaseModel, *, method: str, rank: int, alpha: float = 8) -> Any:
    """The base after three steps of training."""
    model = load_model(base)
    adapters = lora.inject(model, rank=rank, alpha=alpha)
    if method == "pissa":
        spec = pissa.FactorSpec("x", lora.DEFAULT_TARGETS, rank, alpha, None, 0, "float32")
        factors = pissa.compute_factors(pissa.layer_weights(adapters), spec)
        pissa.apply_factors(adapters, factors)
    optimizer = torch.optim.AdamW([p for _, p in lora.trainable_parameters(model)], lr=5e-3)
    for _ in range(3):
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = model(IDS).logits
    return result


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(
    ("family", "method", "rank"),
    [
        ("llama", "pissa", 4),
        ("llama", "pissa", 48),
        ("llama", "lora", 48),
        ("qwen2", "pissa", 48),
        ("qwen2", "lora", 4),
        ("phi3", "pissa", 4),
    ],
)
def test_peft_computes_what_was_trained(
    family: str, method: str, rank: int, tmp_path: Path
) -> None:
    base = make_base(tmp_path / "base", family)
    model = trained(base, method=method, rank=rank)
    change = logits(model) - logits(load_model(base))

    directory = publish_adapter(model, tmp_path / "adapter", base)

    peft = PeftModel.from_pretrained(load_model(base), directory).eval()
    own = load_model(base)
    load_adapter(own, directory)
    assert float(change.abs().max()) > 0.05
    torch.testing.assert_close(logits(peft), logits(model), rtol=0, atol=2e-5)
    torch.testing.assert_close(logits(own), logits(model), rtol=0, atol=2e-5)
    torch.testing.assert_close(logits(lora.merge(own)), logits(model), rtol=0, atol=2e-5)
    assert json.loads((directory / CONFIG_FILE).read_text())["r"] == (
        2 * rank if method == "pissa" else rank
    )


def test_all_layers_have_one_rank_though_some_were_capped() -> None:
    model = make_model()
    adapters = lora.inject(model, rank=48, alpha=48)

    layers = plain_lora(model)

    assert adapters["model.layers.0.self_attn.k_proj"].rank == 32
    assert {a.shape[0] for a, _ in layers.values()} == {48}
    assert {b.shape[1] for _, b in layers.values()} == {48}


def test_what_is_not_finite_is_not_published(tmp_path: Path) -> None:
    model = make_model()
    adapters = lora.inject(model, rank=4, alpha=4)
    next(iter(adapters.values())).lora_B.data[0, 0] = torch.nan

    with pytest.raises(Failure, match="not finite"):
        publish_adapter(model, tmp_path / "adapter", BaseModel("x", "x"))
    assert not (tmp_path / "adapter").exists()


def test_a_model_without_adapters_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no adapters"):
        publish_adapter(make_model(), tmp_path / "adapter", BaseModel("x", "x"))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    model = make_model(num_hidden_layers=3)
    lora.inject(model, rank=4, alpha=4)
    publish_adapter(model, tmp_path, BaseModel("x", "x"))

    with pytest.raises(Failure, match="another base model"):
        load_adapter(make_model(), tmp_path)
    with pytest.raises(Failure, match="another base model"):
        load_adapter(make_model(num_hidden_layers=3, hidden_size=32), tmp_path)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_broken_adapter_is_refused(name: str, tmp_path: Path) -> None:
    model = make_model()
    lora.inject(model, rank=4, alpha=4)
    publish_adapter(model, tmp_path, BaseModel("x", "x"))
    (tmp_path / name).write_bytes(b"{}")

    with pytest.raises(Failure, match="cannot be read"):
        load_adapter(make_model(), tmp_path)
