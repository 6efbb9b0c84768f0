"""An exported model, and a server that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from ollama_double import OllamaDouble, serve

from aiforge.modeling.bases import resolve_base_model
from aiforge.modeling.load import load_tokenizer
from aiforge.serving.chat import Message
from aiforge.serving.deploy import GgufFile
from aiforge.serving.ollama import Ollama
from aiforge.settings import Settings


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``forge-tiny`` as it ships, in 16 bit."""
    pytest.importorskip("llama_cpp")
    from exported_models import write_tiny

    return write_tiny(tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="session")
def tiny_file(tiny_gguf: Path) -> GgufFile:
    from exported_models import gguf_file

    return gguf_file(tiny_gguf)


@pytest.fixture(scope="session")
def count_tokens() -> Callable[[Sequence[Message]], int]:
    """What transformers makes of a conversation, as training saw it."""
    tokenizer = load_tokenizer(resolve_base_model("forge-tiny", Settings()))

    def count(messages: Sequence[Message]) -> int:
        ids = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True)
        return len(ids["input_ids"])

    return count


@pytest.fixture
def double(tmp_path: Path) -> OllamaDouble:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    return OllamaDouble(blobs)


@pytest.fixture
def double_url(double: OllamaDouble) -> Iterator[str]:
    with serve(double) as url:
        yield url


@pytest.fixture
def ollama(double_url: str) -> Iterator[Ollama]:
    """A client of the double."""
    with Ollama(double_url, backoff=0.01) as client:
        yield client
