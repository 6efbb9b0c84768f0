"""Every kind of tokenizer that the families have splits texts in llama.cpp as it does here."""

from __future__ import annotations

import json
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_model
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import processors as post
from transformers import PreTrainedTokenizerFast

from aiforge.export import parity, vocabulary
from aiforge.export.gguf_file import write_gguf
from aiforge.export.reference import model_config
from aiforge.export.vocabulary import PRE_TOKENIZERS, read_vocabulary
from aiforge.export.weights import MergedWeights
from aiforge.modeling import bases
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.catalog import read_catalog
from aiforge.modeling.gguf_vocabulary import GgufVocabulary

pytest.importorskip("llama_cpp")

SIZE = 1200
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
_SAMPLES = [
    "naïve Ångström İstanbul straße ŒUVRE Привет МИР мир 你好世界 안녕하세요 🙂🚀 ½²③ éÀÉ",
    "HTTPServer getURLFromÜberView ПРИВЕТмир straßeÅngström 12345 don't DON'T they'LL\r\n\r\n",
]


@cache
def _corpus() -> list[str]:
    library = Path(sysconfig.get_path("stdlib"))
    found = [(library / name).read_text(encoding="utf-8") for name in ("ast.py", "json/decoder.py")]
    return [*found, *(_SAMPLES * 40)]


def _byte_level(expressions: tuple[str, ...], *, whole_words: bool, compose: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole_words))
    gpt2 = vocabulary._GPT2
    steps: list[Any] = [
        pre_tokenizers.Digits(individual_digits=True)
        if expression == r"\p{N}"
        else pre_tokenizers.Split(Regex(expression), "isolated")
        for expression in expressions
        if expression != gpt2
    ]
    plain = gpt2 in expressions
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=plain))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.normalizer = normalizers.NFC() if compose else None
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def _sentencepiece(*, prefix: bool) -> Tokenizer:
    """As Llama 2 has it, or without the space in front as Gemma has it."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    replace = normalizers.Replace(" ", "▁")
    steps = [normalizers.Prepend("▁"), replace] if prefix else [replace]
    tokenizer.normalizer = normalizers.Sequence(steps)
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        max_token_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator([w for text in _corpus() for w in text.split()], trainer)
    declared = json.loads(tokenizer.to_str())
    # Bytes are ordinary tokens; the trainer knows no other way to have them.
    declared["added_tokens"] = [t for t in declared["added_tokens"] if t["id"] < len(SPECIAL)]
    return Tokenizer.from_str(json.dumps(declared))


def _wrapped(tokenizer: Tokenizer, *, begins: bool) -> PreTrainedTokenizerFast:
    if begins:
        tokenizer.post_processor = post.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:],
    )
    wrapped.chat_template = read_catalog().chat_templates["plain"]
    return wrapped


def _check(wrapped: PreTrainedTokenizerFast, directory: Path) -> vocabulary.Vocabulary:
    model = directory / "model"
    make_model(vocab_size=len(wrapped)).save_pretrained(model)
    base = BaseModel("m", str(model))
    config = model_config(base, bases.read_config(base)).to_dict()
    read = read_vocabulary(wrapped, len(wrapped))
    path = directory / "m.gguf"
    with MergedWeights(bases.weight_files(base), tied=True) as weights:
        write_gguf(path, weights, config, read, "f16", name="m")
    with GgufVocabulary(path) as loaded:
        for check in parity.check_tokens(loaded, wrapped, read):
            assert check.passed, check
    return read


@pytest.mark.parametrize("known", list(PRE_TOKENIZERS.items()), ids=list(PRE_TOKENIZERS.values()))
@pytest.mark.parametrize("begins", [False, True], ids=["bare", "begins"])
def test_byte_level_tokenizers_agree(
    known: tuple[tuple[tuple[str, ...], bool], str], begins: bool, tmp_path: Path
) -> None:
    (expressions, whole_words), name = known
    compose = name == "qwen2"
    tokenizer = _byte_level(expressions, whole_words=whole_words, compose=compose)
    read = _check(_wrapped(tokenizer, begins=begins), tmp_path)
    assert (read.kind, read.pre) == ("gpt2", name)
    assert (read.add_bos, read.is_composed) == (begins, compose)
    assert read.splits_marks == (name in ("tekken", "gpt-4o"))


@pytest.mark.parametrize("prefix", [True, False], ids=["llama", "gemma"])
def test_sentencepiece_tokenizers_agree(prefix: bool, tmp_path: Path) -> None:
    read = _check(_wrapped(_sentencepiece(prefix=prefix), begins=True), tmp_path)
    assert (read.kind, read.add_bos, read.add_space) == ("llama", True, prefix)
