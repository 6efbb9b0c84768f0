"""Notes how each request went, for whoever counts."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Record = Callable[[str, str, str, float | None], None]
"""Takes a request's route, method, class of status, and seconds; ``None`` where it streamed."""

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """Times requests from outside of everything else.

    The route is its template, so that there are as many as the interface has; what no route
    matches, and methods that HTTP does not know, have one name each.
    """

    def __init__(self, app: ASGIApp, record: Record) -> None:
        self.app = app
        self.record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = time.perf_counter()
        status, streams = 500, False

        async def send_noted(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = any(
                    name == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message.get("headers", ())
                )
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            seconds = None if streams else time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", UNMATCHED)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.record(route, method, _class_of(status), seconds)


def _class_of(status: int) -> str:
    return "429" if status == 429 else f"{status // 100}xx"
