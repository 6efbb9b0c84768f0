"""A base in 4 bits: what is lost, what QPiSSA wins back, and gradients through it."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from aiforge.errors import InvalidInput
from aiforge.modeling import quantize
from aiforge.modeling.lora import LoraLinear
from aiforge.modeling.pissa import FactorSpec, factorize, factorize_quantized
from aiforge.modeling.quantize import Nf4Weight, round_trip

pytest.importorskip("bitsandbytes")

RANK = 16


def weight() -> torch.Tensor:
    """Singular values that fall as those of a trained layer do."""
    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(128, 128, generator=generator)).Q
    v = torch.linalg.qr(torch.randn(192, 128, generator=generator)).Q
    return u @ torch.diag(torch.arange(1, 129).float() ** -0.7) @ v.T


def test_four_bits_take_an_eighth_of_float32_and_keep_nine_tenths() -> None:
    packed = Nf4Weight(weight())
    assert packed.shape == (128, 192)
    assert packed.nbytes < weight().nbytes / 7
    error = (packed.dequantize(torch.float32) - weight()).norm() / weight().norm()
    assert error < 0.12


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    """What the start of QPiSSA is off by."""
    residual = round_trip(weight() - b @ a)
    return float((residual + b @ a - weight()).norm())


def test_each_round_of_qpissa_loses_less_than_quantization_alone() -> None:
    arguments = {"rank": RANK, "alpha": float(RANK), "niter": None, "seed": 0, "name": "layer"}
    plain = float((round_trip(weight()) - weight()).norm())
    one = error(*factorize(weight(), **arguments))  # type: ignore[arg-type]
    five = error(*factorize_quantized(weight(), **arguments))  # type: ignore[arg-type]
    assert five < 0.97 * one < 0.9 * plain


def test_factors_of_a_quantized_residual_have_an_address_of_their_own() -> None:
    def key(quantization: quantize.Quantization | None) -> str:
        return FactorSpec("base", ("q",), 4, 4, 8, 0, "float32", quantization).key

    assert key("nf4") != key(None)


def test_gradients_through_four_bits_equal_those_through_the_unpacked_weight() -> None:
    torch.manual_seed(0)
    packed, plain = (LoraLinear(nn.Linear(24, 32), rank=4, scaling=0.5) for _ in range(2))
    packed.weight.data = torch.randn(32, 24)
    plain.weight.data = round_trip(packed.weight.data)
    plain.bias.data = packed.bias.data.clone()
    packed.quantize_(torch.device("cpu"))
    assert packed.weight is None
    found = []
    for layer in (packed, plain):
        layer.lora_A.data = torch.linspace(-1, 1, 96).reshape(4, 24)
        layer.lora_B.data = torch.linspace(1, -1, 128).reshape(32, 4)
        x = torch.linspace(-2, 2, 5 * 24).reshape(5, 24).requires_grad_()
        layer(x).square().sum().backward()
        found.append([x.grad, layer.lora_A.grad, layer.lora_B.grad, layer.merged_weight()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_without_the_library_the_refusal_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'aiforge\[quantization\]'") as caught:
        quantize.require_available()
    assert caught.value.code == "quantization_unavailable"
