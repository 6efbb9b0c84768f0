"""Attention by document in a packed row equals each document alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from aiforge.training import attention
from aiforge.training.data import Batch, Row, collate, document, join
from aiforge.training.loss import CausalLoss

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
    "attn_implementation": attention.register(),
}


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**COMMON, num_key_value_heads=2))


def gemma() -> Any:
    # Caps scores and logits, and every other layer sees a window only.
    config = Gemma2Config(**COMMON, num_key_value_heads=4, sliding_window=8)
    return Gemma2ForCausalLM(config)


def random_documents(lengths: list[int]) -> list[Row]:
    generator = np.random.default_rng(0)
    ids = [generator.integers(0, 97, length).tolist() for length in lengths]
    return [document(item, item) for item in ids]


@pytest.mark.parametrize("make", [llama, gemma])
def test_a_packed_row_equals_its_documents(make: Any) -> None:
    torch.manual_seed(0)
    model = make()
    module = CausalLoss(model)
    documents = random_documents([5, 21, 1, 13])

    def gradient(batches: list[Batch]) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        total = sum((module(batch) for batch in batches), torch.zeros(()))
        total.backward()
        return total.item(), model.model.layers[0].mlp.up_proj.weight.grad.clone()

    packed, packed_grad = gradient([collate([join(documents)])])
    apart, apart_grad = gradient([collate([item]) for item in documents])
    assert packed == pytest.approx(apart, rel=1e-5)
    torch.testing.assert_close(packed_grad, apart_grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [llama, gemma])
def test_one_document_equals_transformers_own_attention(make: Any) -> None:
    torch.manual_seed(1)
    model = make()
    batch = collate(random_documents([24]))
    found = CausalLoss(model)(batch, logits=True)
    model.set_attn_implementation("eager")
    expected = model(batch.input_ids).logits[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_variable_length_kernel_equals_the_reference() -> None:
    lengths = (70, 1, 200, 33)
    total = sum(lengths)
    shapes = ((1, 8, total, 64), (1, 2, total, 64), (1, 2, total, 64))
    tensors = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for shape in shapes]
    module = torch.nn.Module()
    found, _ = attention.document_attention(module, *tensors, None, document_lengths=lengths)
    reference, _ = attention.document_attention(
        module, *(tensor.float() for tensor in tensors), None, document_lengths=lengths
    )
    torch.testing.assert_close(found.float(), reference, rtol=3e-2, atol=3e-2)
