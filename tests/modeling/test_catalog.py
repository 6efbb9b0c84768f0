"""The shipped model catalog says what is true."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import make_model, make_tokenizer

from aiforge.errors import InvalidInput
from aiforge.modeling.catalog import ModelEntry, read_catalog
from aiforge.modeling.prompts import describe_example, encode_example

ENTRIES = read_catalog().models


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.alias)
def test_the_shape_gives_the_stated_number_of_parameters(entry: ModelEntry) -> None:
    shape = entry.shape
    with torch.device("meta"):
        model = make_model(
            entry.family,
            vocab_size=shape.vocabulary_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.attention_heads,
            num_key_value_heads=shape.key_value_heads,
            head_dim=shape.head_dim,
            tie_word_embeddings=shape.tied_embeddings,
        )

    assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters


@pytest.mark.parametrize("name", ["llama-3.2-3b", "META-LLAMA/Llama-3.2-3B"])
def test_an_entry_is_found_by_alias_and_by_hub_id(name: str) -> None:
    entry = read_catalog().find(name)

    assert entry is not None
    assert entry.hub_id == "meta-llama/Llama-3.2-3B"


@pytest.mark.parametrize("name", sorted(read_catalog().chat_templates))
def test_a_shipped_template_masks_the_completion_alone(name: str) -> None:
    tokenizer = make_tokenizer(read_catalog().chat_templates[name])

    encoded = encode_example(
        tokenizer, {"instruction": "What is it?", "input": "", "output": "A shape."}, 200
    )

    assert encoded is not None
    before, _, trained = describe_example(tokenizer, encoded).partition("⟦")
    assert "What is it?" in before
    assert trained in ("A shape.</s>⟧", "A shape.<|im_end|>⟧")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("models: []\nchat_templates: {}\n", "plain"),
        ("models: [{alias: a}]\nchat_templates: {plain: x}\n", "hub_id"),
        ("models: []\nchat_templates: {plain: x}\nmore: 1\n", "more"),
        ("[]", "mapping"),
    ],
)
def test_a_wrong_catalog_is_refused_with_its_fault(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)

    with pytest.raises(InvalidInput, match=fault):
        read_catalog(path)
