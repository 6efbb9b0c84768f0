"""Events on the wire, as https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from aiforge.errors import AIForgeError
from aiforge.services.streams import Item

MEDIA_TYPE = "text/event-stream"

_RETRY_MILLISECONDS = 2000

log = logging.getLogger(__name__)


def respond(items: AsyncIterator[Item | None]) -> StreamingResponse:
    """A response that streams items; ``None`` becomes a heartbeat."""
    return StreamingResponse(
        _frames(items),
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _frames(items: AsyncIterator[Item | None]) -> AsyncIterator[bytes]:
    yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
    try:
        async for item in items:
            yield b": heartbeat\n\n" if item is None else _frame(item)
    except AIForgeError as error:
        # The status is sent already; the client comes back with Last-Event-ID.
        log.warning("An event stream ends early: %s", error.message)


def _frame(item: Item) -> bytes:
    lines = [f"event: {item.event.type}", f"data: {item.event.model_dump_json()}"]
    if item.id is not None:
        lines.insert(0, f"id: {item.id}")
    return ("\n".join(lines) + "\n\n").encode()
