"""Latency of a deployed model, through the server that people ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiforge.evaluation.latency import details, measure
from aiforge.schemas.models import Model
from aiforge.schemas.validations import LatencySize
from aiforge.serving.chat import ChatOptions
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


def latency_of(model: Model | None, url: str, size: LatencySize) -> dict[str, Any] | None:
    """How a deployed model answers, for people; ``None`` where it is deployed to no Ollama server.

    Raises:
        AIForgeError: The server is away, or answers without a token.
    """
    if model is None or model.engine != "ollama" or model.ollama_name is None or not size.requests:
        return None
    with Ollama(url) as server:
        engine = OllamaEngine(server, model.ollama_name)
        return details(measure(engine, size.requests, size.max_new_tokens), engine)
