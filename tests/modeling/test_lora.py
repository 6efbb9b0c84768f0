"""Low-rank adapters: values, gradients, targets, state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_model
from torch import nn

from aiforge.errors import InvalidInput
from aiforge.modeling import lora
from aiforge.modeling.lora import LoraLinear


def random_adapter(rank: int, *, bias: bool, dtype: torch.dtype = torch.float64) -> LoraLinear:
    adapter = LoraLinear(nn.Linear(7, 5, bias=bias, dtype=dtype), rank, 0.5).to(dtype)
    for parameter in (adapter.lora_A, adapter.lora_B):
        nn.init.normal_(parameter)
    return adapter


def plain_forward(adapter: LoraLinear, x: torch.Tensor) -> torch.Tensor:
    change = adapter.scaling * adapter.lora_B @ adapter.lora_A
    return nn.functional.linear(x, adapter.weight + change, adapter.bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 7), (7,), (0, 7)])
def test_forward_and_gradients_are_those_of_the_plain_expression(
    shape: tuple[int, ...], bias: bool
) -> None:
    adapter = random_adapter(2, bias=bias)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    weights = (adapter.lora_A, adapter.lora_B)

    fused, plain = adapter(x), plain_forward(adapter, y)
    fused_gradients = torch.autograd.grad(fused.square().sum(), (x, *weights))
    plain_gradients = torch.autograd.grad(plain.square().sum(), (y, *weights))

    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(fused_gradients, plain_gradients)


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    adapter = random_adapter(2, bias=False)
    x = torch.randn(3, 7, dtype=torch.float64)

    adapter(x).sum().backward()

    assert x.grad is None
    assert adapter.lora_A.grad is not None
    assert adapter.weight.grad is None


def test_masters_stay_float32_beside_a_bfloat16_base() -> None:
    adapter = LoraLinear(nn.Linear(7, 5, dtype=torch.bfloat16), 2, 1.0)
    nn.init.normal_(adapter.lora_A)
    nn.init.normal_(adapter.lora_B)

    out = adapter(torch.randn(3, 7, dtype=torch.bfloat16))
    out.sum().backward()

    assert out.dtype == torch.bfloat16
    assert adapter.lora_A.dtype == torch.float32
    assert adapter.lora_A.grad is not None
    assert adapter.lora_A.grad.dtype == torch.float32


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.booleans())
def test_merging_changes_nothing_but_the_module(rank: int, bias: bool) -> None:
    model = nn.Sequential(random_adapter(rank, bias=bias))
    x = torch.randn(4, 7, dtype=torch.float64)
    before = model(x)

    lora.merge(model)

    assert type(model[0]) is nn.Linear
    assert not any(parameter.requires_grad for parameter in model.parameters())
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("family", "per_layer"), [("llama", 7), ("qwen2", 7), ("phi3", 4)])
def test_all_linear_layers_of_the_decoder_are_adapted_and_nothing_else(
    family: str, per_layer: int
) -> None:
    model = make_model(family)
    embedding = model.get_input_embeddings().weight
    before = model(torch.arange(8)[None]).logits

    adapters = lora.inject(model, rank=4, alpha=8)

    assert len(adapters) == 2 * per_layer
    assert {name.rpartition(".")[2] for name, _ in lora.trainable_parameters(model)} == {
        "lora_A",
        "lora_B",
    }
    assert model.lm_head.weight is embedding
    assert all(adapter.scaling == 2 for adapter in adapters.values())
    torch.testing.assert_close(model(torch.arange(8)[None]).logits, before, rtol=0, atol=0)


def test_the_start_depends_on_seed_and_layer_alone() -> None:
    models = [make_model() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.manual_seed(torch.seed())
        lora.inject(model, rank=4, alpha=4, seed=seed)
    some = [lora.adapter_state(model)["model.layers.0.mlp.up_proj.lora_A"] for model in models]
    other = lora.adapter_state(models[0])["model.layers.1.mlp.up_proj.lora_A"]

    assert torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])
    assert not torch.equal(some[0], other)
    assert float(some[0].abs().max()) <= 64**-0.5


def test_a_rank_is_capped_per_layer_and_the_scaling_is_not() -> None:
    model = make_model()

    adapters = lora.inject(model, rank=48, alpha=24)

    assert adapters["model.layers.0.self_attn.k_proj"].rank == 32
    assert adapters["model.layers.0.self_attn.q_proj"].rank == 48
    assert {adapter.scaling for adapter in adapters.values()} == {0.5}


@pytest.mark.parametrize("targets", [["lm_head"], ["embed_tokens"], ["q_proj", "nothing"]])
def test_a_wrong_target_is_refused_with_the_right_ones(targets: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"choose targetModules among down_proj, .*v_proj"):
        lora.inject(make_model(), rank=4, alpha=4, targets=targets)


def test_state_goes_out_and_comes_back() -> None:
    source, target = make_model(), make_model()
    lora.inject(source, rank=4, alpha=4, seed=1)
    lora.inject(target, rank=4, alpha=4, seed=2)

    state = lora.adapter_state(source)
    lora.load_adapter_state(target, state)

    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    for key, value in lora.adapter_state(target).items():
        assert torch.equal(value, state[key])


def test_state_of_another_shape_is_refused() -> None:
    source, target = make_model(), make_model()
    lora.inject(source, rank=4, alpha=4)
    lora.inject(target, rank=8, alpha=4)

    with pytest.raises(InvalidInput, match="does not fit"):
        lora.load_adapter_state(target, lora.adapter_state(source))
