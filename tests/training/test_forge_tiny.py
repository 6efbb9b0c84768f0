"""The shipped base model, and the script that makes it."""

from __future__ import annotations

import json
import math
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from aiforge.errors import Cancelled
from aiforge.modeling.bases import FORGE_TINY, FORGE_TINY_DIR, resolve_base_model
from aiforge.modeling.load import load_model, load_tokenizer
from aiforge.settings import Settings
from aiforge.training import attention, card, pretrain
from aiforge.training.data import collate, document
from aiforge.training.loss import CausalLoss
from aiforge.training.pretrain import Recipe
from aiforge.training.stdlib_corpus import SourceText, bucket, conversations, read_corpus
from aiforge.training.tiny_tokenizer import CHAT_TEMPLATE, byte_lengths, train_tokenizer

SOURCE = '''
class Stack:
    """Last in, first out."""

    def push(self, item):
        """Put an item on top."""
        self.items.append(item)
'''


def test_the_package_is_small_and_its_card_tells_its_figures() -> None:
    files = [path for path in FORGE_TINY_DIR.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    figures = json.loads((FORGE_TINY_DIR / "figures.json").read_text())
    assert (FORGE_TINY_DIR / "README.md").read_text() == card.render(figures)
    comparison = figures["comparison"]
    assert comparison["from_model"]["loss"] < comparison["from_random"]["loss"] - 1.0
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in (FORGE_TINY_DIR / "LICENSE-NOTICE").read_text()


def test_it_knows_python_it_has_not_seen() -> None:
    base = resolve_base_model(FORGE_TINY, Settings())
    tokenizer = load_tokenizer(base)
    module = CausalLoss(load_model(base, attention=attention.register()))
    assert bucket("operator.py", 50) == 0, "held out"
    text = Path(sysconfig.get_path("stdlib"), "operator.py").read_text()
    ids = tokenizer(text)["input_ids"][:800]
    with torch.no_grad():
        loss = module(collate([document(ids, ids)])).item() / (len(ids) - 1)
    assert loss < 0.55 * math.log(len(tokenizer))


def test_its_chat_template_is_what_it_was_trained_on() -> None:
    tokenizer = load_tokenizer(resolve_base_model(FORGE_TINY, Settings()))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


TOKENIZER = train_tokenizer([SOURCE] * 4, 320)


@given(st.text(max_size=60))
def test_no_text_is_lost_in_tokens(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text
    lengths = byte_lengths(TOKENIZER)
    if "<|" not in text:
        assert sum(lengths[token] for token in ids) == len(text.encode())


def test_questions_are_answered_from_the_file() -> None:
    found = list(conversations(SourceText("ds/stack.py", SOURCE)))
    assert len(found) == 2
    for question, answer in found:
        assert "Stack" in question["content"]
        assert answer["role"] == "assistant"
        plain = answer["content"].removeprefix("```python\n").removesuffix("\n```")
        assert plain in SOURCE


def small_library(root: Path) -> Path:
    """A few modules, some of which fall into the held-out share."""
    names = [f"m{number}.py" for number in range(400)]
    held_out = [name for name in names if bucket(name, 50) == 0][:2]
    for name in [*names[:12], *held_out]:
        (root / name).write_text(SOURCE.replace("Stack", name.removesuffix(".py").title()))
    (root / "encodings").mkdir()
    (root / "encodings" / "table.py").write_text("TABLE = {}")
    (root / "broken.py").write_bytes(b"# coding: utf-8\n\xff\xfe")
    return root


def test_the_split_is_deterministic_and_tables_are_left_out(tmp_path: Path) -> None:
    corpus = read_corpus(small_library(tmp_path))
    again = read_corpus(tmp_path)
    assert corpus == again
    assert len(corpus.held_out) >= 2
    assert not {s.path for s in corpus.train} & {s.path for s in corpus.held_out}
    assert "encodings/table.py" not in {source.path for source in corpus.train}


def test_an_interrupted_pretraining_ends_with_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lib"
    root.mkdir()
    small_library(root)
    recipe = Recipe(
        vocabulary=300, hidden=32, intermediate=64, layers=1, context=128, rows_per_step=1, steps=6
    )
    pretrain.pretrain(recipe, tmp_path / "whole", tmp_path / "work-1", 2, root)

    kept = pretrain.checkpoint.save

    def keep_and_stop(state: object, directory: Path) -> None:
        kept(state, directory)  # type: ignore[arg-type]
        raise Cancelled("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.checkpoint, "save", keep_and_stop)
        with pytest.raises(Cancelled):
            pretrain.pretrain(recipe, tmp_path / "resumed", tmp_path / "work-2", 2, root)
    assert not (tmp_path / "resumed").exists()
    figures = pretrain.pretrain(recipe, tmp_path / "resumed", tmp_path / "work-2", 2, root)
    whole, resumed = (
        load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed")
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert 0 < figures["held_out_bits_per_byte"] < 20
    shutil.rmtree(tmp_path / "work-2")
