"""Models and tokenizers load completely and safely, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import CHATML, make_base, make_tokenizer

from aiforge.errors import Failure
from aiforge.modeling.catalog import read_catalog
from aiforge.modeling.head import hidden_states, project, row_chunks
from aiforge.modeling.load import load_model, load_tokenizer

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_and_its_two_halves_give_its_logits(family: str, tmp_path: Path) -> None:
    model = load_model(make_base(tmp_path, family))
    ids = torch.arange(12).view(2, 6)

    with torch.inference_mode():
        logits = model(ids).logits
        halves = project(model, hidden_states(model, ids))

    assert not model.training
    torch.testing.assert_close(halves, logits, rtol=0, atol=1e-6)


def test_weights_come_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    model = load_model(make_base(tmp_path), dtype=torch.bfloat16)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_missing_weight_is_never_made_up(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(Failure, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(base)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_a_broken_shard_is_one_line(content: bytes, tmp_path: Path) -> None:
    base = make_base(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(Failure, match="cannot be loaded") as caught:
        load_model(base)
    assert "\n" not in caught.value.message


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(Failure, match="safetensors"):
        load_model(base)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((tmp_path / name).read_text())
        content["auto_map"] = {"AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": "evil.Evil"}
        (tmp_path / name).write_text(json.dumps(content))

    load_model(base)
    load_tokenizer(base)

    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_a_template_gets_the_plain_one(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_base(tmp_path))

    assert tokenizer.chat_template == read_catalog().chat_templates["plain"]
    assert tokenizer.pad_token == tokenizer.eos_token == "</s>"


def test_a_models_own_template_is_kept_unless_the_catalog_replaces_it(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    make_tokenizer(CHATML).save_pretrained(tmp_path)

    assert load_tokenizer(base).chat_template == CHATML
    assert load_tokenizer(replace(base, chat_template="{{ 1 }}")).chat_template == "{{ 1 }}"


@pytest.mark.parametrize("content", ["", "{}", "[1"])
def test_a_broken_tokenizer_is_one_line(content: str, tmp_path: Path) -> None:
    base = make_base(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(Failure, match="tokenizer of base model") as caught:
        load_tokenizer(base)
    assert "\n" not in caught.value.message


def test_chunks_cover_all_rows_once() -> None:
    chunks = list(row_chunks(10, (1 << 26) // 4))

    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 4), (4, 8), (8, 10)]
    assert len(list(row_chunks(3, 1 << 40))) == 3
