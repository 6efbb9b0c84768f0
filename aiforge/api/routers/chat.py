"""Chat in OpenAI's form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import StreamingResponse

from aiforge.api import examples, sse
from aiforge.api.dependencies import Ctx
from aiforge.api.errors import REQUEST_ID
from aiforge.api.responses import answers
from aiforge.errors import AIForgeError
from aiforge.schemas.chat import ChatChunk, ChatCompletion, ChatModels, ChatRequest
from aiforge.schemas.errors import error_body
from aiforge.services import chat

router = APIRouter(tags=["Chat"])

_DONE = b"data: [DONE]\n\n"

_ANSWERS = answers(examples.CHAT_COMPLETION, 400, 404, 409, 413, 415, 422)
_ANSWERS[200]["content"][sse.MEDIA_TYPE] = {
    "schema": {"type": "string"},
    "example": examples.CHAT_STREAM,
}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=_ANSWERS)
async def create_chat_completion(
    ctx: Ctx, request: Request, body: Annotated[ChatRequest, Body(examples=[examples.CHAT_REQUEST])]
) -> Any:
    """Have a project's active model answer; as server-sent events with `stream: true`."""
    if not body.stream:
        return await chat.complete(ctx, body)
    chunks = await chat.stream(ctx, body)
    return _stream(chunks, str(request.scope.get(REQUEST_ID, "")))


@router.get("/v1/models", responses=answers(examples.CHAT_MODELS))
async def list_chat_models(ctx: Ctx) -> ChatModels:
    """List the projects that have an active model to chat with."""
    return await chat.list_models(ctx)


def _stream(chunks: AsyncIterator[ChatChunk], request_id: str) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_frames(chunks, request_id), 200, headers, sse.MEDIA_TYPE)


async def _frames(chunks: AsyncIterator[ChatChunk], request_id: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield f"data: {chunk.model_dump_json(exclude_none=True)}\n\n".encode()
    except AIForgeError as error:
        # The status is sent already; clients of OpenAI's form look for this key.
        body = error_body(error, request_id).model_dump_json()
        yield f'data: {{"error": {body}}}\n\n'.encode()
        return
    yield _DONE
