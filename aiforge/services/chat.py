"""Chat with a project's active model, through Ollama or by llama.cpp here."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiforge.errors import InternalError, Unavailable
from aiforge.schemas.chat import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    ChatModel,
    ChatModels,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    Usage,
)
from aiforge.schemas.models import Engine
from aiforge.services import exported
from aiforge.services.context import Services
from aiforge.serving.chat import ChatOptions, ChatPiece
from aiforge.state import answering, exports
from aiforge.state.answering import Served

TOP_K = 40
RETRY_AFTER_SECONDS = 30


@dataclass(frozen=True)
class Conversation:
    """A request with the version and the engine that answer it."""

    id: str
    request: ChatRequest
    served: Served
    engine: Engine
    created: int


async def begin(services: Services, request: ChatRequest) -> Conversation:
    """Find what answers a request.

    Raises:
        NotFound: There is no such model, or none of the project is active.
        Forbidden: It belongs to a project that the one who asks is not bound to.
        Conflict: It was neither deployed nor exported.
    """
    served = await services.state.call(answering.find, request.model)
    services.require_project(served.model.project_name)
    return Conversation(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        request=request,
        served=served,
        engine=served.engine,
        created=int(time.time()),
    )


async def complete(services: Services, request: ChatRequest) -> ChatCompletion:
    """The whole answer.

    Raises:
        NotFound, Forbidden, Conflict: As ``begin``.
        InvalidInput: The conversation does not fit the model.
        Unavailable: The engine is away, or busy.
    """
    conversation = await begin(services, request)
    pieces = [piece async for piece in _pieces(services, conversation)]
    last = pieces[-1]
    return ChatCompletion(
        id=conversation.id,
        created=conversation.created,
        model=request.model,
        system_fingerprint=conversation.served.model.id,
        choices=[
            Choice(
                message=AnswerMessage(content="".join(piece.text for piece in pieces)),
                finish_reason=last.finish or "stop",
            )
        ],
        usage=_usage(last),
    )


async def stream(services: Services, request: ChatRequest) -> AsyncIterator[ChatChunk]:
    """The answer as it is made; nothing is raised any more once the first chunk is there.

    Raises:
        NotFound, Forbidden, Conflict, InvalidInput, Unavailable: As ``complete``.
    """
    conversation = await begin(services, request)
    pieces = _pieces(services, conversation)
    # The first piece tells whether there will be an answer, while a status can still say so.
    first = await anext(pieces)
    return _chunks(conversation, first, pieces)


async def list_models(services: Services) -> ChatModels:
    """The projects that can be chatted with: those that have an active model."""
    found = await services.state.call(answering.active)
    visible = services.projects
    return ChatModels(
        data=[
            ChatModel(
                id=one.model.project_name,
                created=int(one.model.created_at.timestamp()),
                owned_by="aiforge",
                root=one.model.name,
            )
            for one in found
            if visible is None or one.model.project_name in visible
        ]
    )


async def _chunks(
    conversation: Conversation, first: ChatPiece, pieces: AsyncIterator[ChatPiece]
) -> AsyncIterator[ChatChunk]:
    yield _chunk(conversation, Delta(role="assistant", content=""))
    last = first
    try:
        if first.text:
            yield _chunk(conversation, Delta(content=first.text))
        if first.finish is None:
            async for last in pieces:
                if last.text:
                    yield _chunk(conversation, Delta(content=last.text))
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
    end = _chunk(conversation, Delta())
    end.choices[0].finish_reason = last.finish or "stop"
    yield end
    options = conversation.request.stream_options
    if options is not None and options.include_usage:
        yield _chunk(conversation, None, _usage(last))


def _chunk(
    conversation: Conversation, delta: Delta | None, usage: Usage | None = None
) -> ChatChunk:
    return ChatChunk(
        id=conversation.id,
        created=conversation.created,
        model=conversation.request.model,
        system_fingerprint=conversation.served.model.id,
        choices=[] if delta is None else [ChunkChoice(delta=delta)],
        usage=usage,
    )


def _usage(last: ChatPiece) -> Usage | None:
    if last.prompt_tokens is None or last.completion_tokens is None:
        return None
    return Usage(
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.completion_tokens,
        total_tokens=last.prompt_tokens + last.completion_tokens,
    )


async def _pieces(services: Services, conversation: Conversation) -> AsyncIterator[ChatPiece]:
    """The pieces of an answer; the last one has ``finish``."""
    request, served = conversation.request, conversation.served
    messages = [
        {"role": "system" if m.role == "developer" else m.role, "content": m.text}
        for m in request.messages
    ]
    options = ChatOptions(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=TOP_K,
        seed=secrets.randbits(31) if request.seed is None else request.seed,
        max_tokens=request.most_tokens,
        stop=tuple(request.stops),
    )
    if conversation.engine == "ollama":
        pieces = services.engines.ollama(served, messages, options)
    else:
        export = await services.state.call(exports.newest, served.model.job_id)
        if export is None:
            model = served.model
            await asyncio.to_thread(exported.require_under_way, services.state, model)
            raise Unavailable(
                f"{model.name} is being exported; ask again once that is done.",
                code="export_under_way",
                retryAfter=RETRY_AFTER_SECONDS,
            )
        pieces = services.engines.here(export, messages, options)
    last = None
    async for last in pieces:
        yield last
    if last is None or last.finish is None:
        raise InternalError("An engine ended an answer without saying why.")
