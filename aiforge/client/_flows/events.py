"""Server-sent events: a stream that survives lost connections."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from pydantic import ValidationError

from aiforge.client._flow import Call, Emit, ItemFlow, Open, Read, Sleep, Stream
from aiforge.client._retry import error_of, unreachable
from aiforge.client._sse import Parser
from aiforge.errors import Unavailable
from aiforge.schemas.runs import Event

MEDIA_TYPE = "text/event-stream"
SILENCE_SECONDS = 45.0
"""Three heartbeats of the server; a longer silence means that the connection is dead."""

ATTEMPTS = 6


class NoStreamError(Exception):
    """What answers does not stream, a proxy that buffers for example."""


def events(
    *, after: int | None = None, opened: Callable[[], None] | None = None
) -> ItemFlow[Event]:
    """Everything that happens on the platform, from now on or after a sequence number.

    Args:
        opened: Called whenever the stream is open: what happens from here on will come.
    """
    cursor = None if after is None else str(after)
    return stream("/events", cursor, lambda event: False, opened)


def stream(
    path: str,
    cursor: str | None,
    is_last: Callable[[Event], bool],
    opened: Callable[[], None] | None = None,
) -> ItemFlow[Event]:
    """The events of a stream until the last one, taken up after the newest id when it breaks.

    Raises:
        NoStreamError: The server answers with something else than a stream.
        ServerUnreachable: Nothing answers any more.
    """
    failures = 0
    while True:
        parser = Parser()
        try:
            source: Stream = yield Open(_call(path, cursor))
            _require_stream(source.response)
            if opened is not None:
                opened()
            while chunk := (yield Read(source)):
                for message in parser.feed(chunk):
                    event = _parse(message.data)
                    yield Emit(event)
                    cursor = message.id or cursor
                    failures = 0
                    if is_last(event):
                        return
            failures += 1
            if failures >= ATTEMPTS:
                raise NoStreamError
        except (httpx.TransportError, Unavailable) as error:
            failures += 1
            if failures >= ATTEMPTS:
                if isinstance(error, httpx.TransportError):
                    raise unreachable(error) from error
                raise
        yield Sleep(min(5.0, 0.1 * 2**failures))


def _call(path: str, cursor: str | None) -> Call:
    headers = {"Accept": MEDIA_TYPE} | ({"Last-Event-ID": cursor} if cursor else {})
    return Call("GET", path, headers=headers, timeout=SILENCE_SECONDS)


def _require_stream(response: httpx.Response) -> None:
    if response.is_error:
        raise error_of(response)
    if not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
        raise NoStreamError


def _parse(data: str) -> Event:
    try:
        return Event.model_validate_json(data)
    except ValidationError as error:
        raise NoStreamError from error
