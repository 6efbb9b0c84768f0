"""Latency of a deployed model is measured through the server."""

from __future__ import annotations

from typing import cast

import pytest
from test_ollama_server import push

from aiforge.errors import AIForgeError
from aiforge.schemas.models import Model
from aiforge.schemas.validations import LatencySize
from aiforge.services.served import latency_of
from aiforge.serving.deploy import GgufFile
from aiforge.serving.ollama import Ollama

SIZE = LatencySize(requests=3, max_new_tokens=6)


def deployed(name: str | None, engine: str | None = "ollama") -> Model:
    return cast(Model, Model.model_construct(engine=engine, ollama_name=name))


def test_a_deployed_model_is_timed_through_its_server(ollama: Ollama, tiny_file: GgufFile) -> None:
    files = {"m.gguf": push(ollama, tiny_file)}
    ollama.create("timed:v1", files, ["<|im_end|>"], lambda done: None)

    told = latency_of(deployed("timed:v1"), ollama.url, SIZE)

    assert told is not None
    assert told["engine"].startswith("Ollama ")
    assert ollama.url in told["hardware"]
    assert told["firstTokenMs"]["p95"] >= told["firstTokenMs"]["p50"] > 0
    assert 3 <= told["tokens"] <= 18
    assert told["tokensPerSecond"] > 0


def test_what_is_not_deployed_is_not_timed(ollama: Ollama) -> None:
    assert latency_of(None, ollama.url, SIZE) is None
    assert latency_of(deployed("x", "llama.cpp"), ollama.url, SIZE) is None
    assert latency_of(deployed("x"), ollama.url, LatencySize(requests=0)) is None


def test_a_server_that_lacks_the_model_says_so(ollama: Ollama) -> None:
    with pytest.raises(AIForgeError):
        latency_of(deployed("absent:v1"), ollama.url, SIZE)
