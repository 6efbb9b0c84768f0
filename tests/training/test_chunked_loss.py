"""The compact loss equals torch's cross-entropy on full logits, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from aiforge.training import loss as module
from aiforge.training.data import IGNORED
from aiforge.training.loss import linear_cross_entropy


def inputs(positions: int, trained: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(positions)
    hidden = torch.randn(positions, 24, generator=generator, requires_grad=True)
    weight = torch.randn(101, 24, generator=generator, requires_grad=True)
    targets = torch.randint(0, 101, (positions,), generator=generator)
    targets[torch.rand(positions, generator=generator) >= trained] = IGNORED
    return hidden, weight, targets


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize(("positions", "trained"), [(1, 1.0), (64, 1.0), (65, 0.3), (200, 0.5)])
def test_equals_cross_entropy_on_full_logits(
    monkeypatch: pytest.MonkeyPatch, positions: int, trained: float, softcap: float | None
) -> None:
    monkeypatch.setattr(module, "CHUNK", 16)
    hidden, weight, targets = inputs(positions, trained)
    logits = hidden @ weight.T
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    expected = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    expected_grads = torch.autograd.grad(expected * 0.3, (hidden, weight))
    found = linear_cross_entropy(hidden, weight, targets, softcap)
    grads = torch.autograd.grad(found * 0.3, (hidden, weight))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


def test_a_frozen_output_layer_gets_no_gradient() -> None:
    hidden, weight, targets = inputs(20, 1.0)
    weight.requires_grad_(False)
    linear_cross_entropy(hidden, weight, targets).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_nothing_trained_is_a_loss_of_zero_with_a_gradient_of_zero() -> None:
    hidden, weight, targets = inputs(20, 0.0)
    found = linear_cross_entropy(hidden, weight, targets)
    found.backward()
    assert found.item() == 0.0
    assert hidden.grad is not None
    assert not hidden.grad.any()
