"""Latency of a model that can be asked is measured through the engine that people ask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from deployed import Platform, alone, gguf  # noqa: F401
from test_ollama_server import push

from aiforge.errors import AIForgeError
from aiforge.schemas.models import Model, ModelStatus
from aiforge.schemas.validations import LatencySize
from aiforge.services.context import RunContext
from aiforge.services.served import latency_of
from aiforge.serving.deploy import GgufFile
from aiforge.serving.ollama import Ollama
from aiforge.settings import Settings
from aiforge.state import models

SIZE = LatencySize(requests=3, max_new_tokens=6)


def context(url: str) -> RunContext:
    """What a validation has of a platform whose Ollama server is there."""
    return cast(RunContext, SimpleNamespace(settings=Settings(ollama_url=url)))


def deployed(name: str) -> Model:
    """A model that is deployed and not active."""
    return cast(
        Model, Model.model_construct(engine=None, ollama_name=name, status=ModelStatus.READY)
    )


def test_a_deployed_model_is_timed_through_its_server(ollama: Ollama, tiny_file: GgufFile) -> None:
    files = {"m.gguf": push(ollama, tiny_file)}
    ollama.create("timed:v1", files, ["<|im_end|>"], lambda done: None)

    told = latency_of(context(ollama.url), deployed("timed:v1"), SIZE)

    assert told is not None
    assert told["engine"].startswith("Ollama ")
    assert ollama.url in told["hardware"]
    assert told["firstTokenMs"]["p95"] >= told["firstTokenMs"]["p50"] > 0
    assert 3 <= told["tokens"] <= 18
    assert told["tokensPerSecond"] > 0


def test_an_active_model_is_timed_by_llama_cpp_where_that_answers(
    alone: Platform,  # noqa: F811
) -> None:
    model_id = alone.train()
    alone.export(model_id)
    services = alone.services
    here = cast(
        RunContext,
        SimpleNamespace(state=services.state, storage=services.storage, settings=services.settings),
    )

    before = latency_of(here, alone.state.call_sync(models.get, model_id), SIZE)
    assert alone.post(model_id, "activate").status_code == 200
    told = latency_of(here, alone.state.call_sync(models.get, model_id), SIZE)

    assert before is None, "nobody can ask it yet"
    assert told is not None
    assert (told["engine"], told["dtype"]) == ("llama.cpp", "f16")
    assert told["firstTokenMs"]["p95"] >= told["firstTokenMs"]["p50"] > 0


def test_what_is_not_wanted_is_not_timed(ollama: Ollama) -> None:
    assert latency_of(context(ollama.url), None, SIZE) is None
    assert latency_of(context(ollama.url), deployed("x"), LatencySize(requests=0)) is None


def test_a_server_that_lacks_the_model_says_so(ollama: Ollama) -> None:
    with pytest.raises(AIForgeError):
        latency_of(context(ollama.url), deployed("absent:v1"), SIZE)
