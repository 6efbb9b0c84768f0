"""Chat with a project's active model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from aiforge.client._flow import Call, Emit, Flow, ItemFlow, Open, Read, Send, Stream
from aiforge.client._flows.common import decode, fetch
from aiforge.client._retry import error_of, unreachable
from aiforge.client._sse import Parser
from aiforge.errors import InternalError, Unavailable
from aiforge.schemas.chat import ChatChunk, ChatCompletion, ChatModels
from aiforge.schemas.errors import error_from_body

ANSWER_SECONDS = 600.0
"""The first answer of a large model waits until it is loaded."""

Messages = str | Sequence[Mapping[str, str]]
"""One question, or a whole conversation of ``role`` and ``content``."""


def complete(
    model: str,
    messages: Messages,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    stop: Sequence[str] | None = None,
    seed: int | None = None,
) -> Flow[ChatCompletion]:
    """A model's answer; what is ``None`` is left to the server.

    Args:
        model: A project, whose active version answers, or one version by its name or id.
        messages: One question, or a conversation.
        stop: Texts that end the answer.

    Raises:
        NotFound: There is no such model, or none of the project is active.
        InvalidInput: A value is out of its range, or the conversation does not fit.
        Unavailable: What generates is away or busy.
    """
    body = _body(model, messages, temperature, top_p, max_tokens, stop, seed)
    call = Call("POST", "/v1/chat/completions", json=body, timeout=ANSWER_SECONDS)
    return decode(ChatCompletion, (yield Send(call)))


def stream(
    model: str,
    messages: Messages,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    stop: Sequence[str] | None = None,
    seed: int | None = None,
) -> ItemFlow[ChatChunk]:
    """A model's answer as it is made; arguments and errors are those of ``complete``."""
    body = _body(model, messages, temperature, top_p, max_tokens, stop, seed) | {"stream": True}
    parser = Parser()
    try:
        source: Stream = yield Open(
            Call("POST", "/v1/chat/completions", json=body, timeout=ANSWER_SECONDS)
        )
        if source.response.is_error:
            raise error_of(source.response)
        while chunk := (yield Read(source)):
            for message in parser.feed(chunk):
                if message.data == "[DONE]":
                    return
                yield Emit(_chunk(message.data))
    except httpx.TransportError as error:
        raise unreachable(error) from error
    raise Unavailable("The answer ended in the middle; ask again.", code="chat_interrupted")


def models() -> Flow[ChatModels]:
    """The projects that can be chatted with."""
    return fetch(ChatModels, "/v1/models")


def _body(
    model: str,
    messages: Messages,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    stop: Sequence[str] | None,
    seed: int | None,
) -> dict[str, Any]:
    talk = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    wanted = {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "stop": None if stop is None else list(stop),
        "seed": seed,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    return {"model": model, "messages": talk} | given


def _chunk(data: str) -> ChatChunk:
    try:
        body = json.loads(data)
        if "error" in body:
            raise error_from_body(int(body["error"]["status"]), body["error"])
        return ChatChunk.model_validate(body)
    except (ValueError, KeyError, TypeError) as error:
        raise InternalError(
            "The server streams something that is no answer; check its address.",
            code="unexpected_answer",
        ) from error
