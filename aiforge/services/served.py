"""Latency of a model through the engine that people ask."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from aiforge.evaluation.latency import Generates, details, measure
from aiforge.modeling import llama_library
from aiforge.schemas.models import Model, ModelStatus
from aiforge.schemas.validations import LatencySize
from aiforge.services import exported
from aiforge.services.context import RunContext
from aiforge.serving.chat import ChatOptions
from aiforge.serving.llama import LlamaModel
from aiforge.serving.ollama import Ollama


class OllamaEngine:
    """One model of an Ollama server, as latency asks it."""

    dtype = "as exported"

    def __init__(self, server: Ollama, tag: str) -> None:
        self._server, self._tag = server, tag
        self.name = f"Ollama {server.version()}"
        self.hardware = f"the machine of {server.url}"

    def __call__(self, prompt: str, max_new_tokens: int, on_token: Callable[[], None]) -> None:
        """See ``latency.Generates``."""
        options = ChatOptions(max_tokens=max_new_tokens)
        messages = [{"role": "user", "content": prompt}]
        for piece in self._server.chat(self._tag, messages, options):
            if piece.text:
                on_token()


class LlamaEngine:
    """A model that llama.cpp answers for on this machine, as latency asks it."""

    name = "llama.cpp"

    def __init__(self, model: LlamaModel, quantization: str) -> None:
        self._model = model
        self.hardware = f"CPU, {llama_library.threads()} threads"
        self.dtype = quantization

    def __call__(self, prompt: str, max_new_tokens: int, on_token: Callable[[], None]) -> None:
        """See ``latency.Generates``."""
        messages = [{"role": "user", "content": prompt}]
        for piece in self._model.chat(messages, ChatOptions(max_tokens=max_new_tokens)):
            if piece.text:
                on_token()


def latency_of(
    context: RunContext, model: Model | None, size: LatencySize
) -> dict[str, Any] | None:
    """How a model answers, for people, where it is deployed to Ollama or active through llama.cpp.

    Returns:
        ``None`` where nobody can ask it yet.

    Raises:
        AIForgeError: The server or the file is away, or answers without a token.
    """
    if model is None or not size.requests:
        return None
    if model.ollama_name is not None:
        with Ollama(context.settings.ollama_url) as server:
            return _measured(OllamaEngine(server, model.ollama_name), size)
    if model.status is not ModelStatus.ACTIVE:
        return None
    file = exported.newest_file(context.state, context.storage, context.settings, model)
    if file is None:
        return None
    with contextlib.closing(LlamaModel(file.path)) as loaded:
        return _measured(LlamaEngine(loaded, file.export.quantization or ""), size)


def _measured(engine: Generates, size: LatencySize) -> dict[str, Any]:
    return details(measure(engine, size.requests, size.max_new_tokens), engine)
