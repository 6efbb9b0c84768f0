"""Exported models for tests that run them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ollama_double import template_of

from aiforge.export.gguf_file import write_gguf
from aiforge.export.vocabulary import TEMPLATE_MARK, read_vocabulary
from aiforge.export.weights import MergedWeights
from aiforge.modeling import bases
from aiforge.modeling.bases import resolve_base_model
from aiforge.modeling.load import load_tokenizer
from aiforge.serving.deploy import GgufFile
from aiforge.settings import Settings

STOP = ["<|im_end|>"]
"""What ends an answer of ``forge-tiny``."""


def write_tiny(directory: Path, name: str = "model.gguf", *, marked: bool = True) -> Path:
    """``forge-tiny`` in 16 bit, as an export writes it, without what it compares.

    Args:
        marked: With the comment in front of its chat template.
    """
    base = resolve_base_model("forge-tiny", Settings())
    config = bases.read_config(base)
    path = directory / name
    with MergedWeights(bases.weight_files(base), tied=True) as weights:
        vocabulary = read_vocabulary(load_tokenizer(base), config["vocab_size"])
        if not marked:
            template = vocabulary.chat_template.removeprefix(TEMPLATE_MARK)
            vocabulary = replace(vocabulary, chat_template=template)
        write_gguf(path, weights, config, vocabulary, "f16", name="tiny")
    return path


def gguf_file(path: Path) -> GgufFile:
    """A file as it is deployed."""
    content = path.read_bytes()
    return GgufFile(
        "model.gguf",
        hashlib.sha256(content).hexdigest(),
        len(content),
        lambda: path.open("rb"),
        template_of(path),
    )
