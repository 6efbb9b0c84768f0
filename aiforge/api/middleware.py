"""What surrounds every request: its id, the limit of its body, the envelope of its answer."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiforge import logs
from aiforge.api.errors import REQUEST_ID, render, unexpected
from aiforge.errors import Forbidden, Rejected
from aiforge.schemas.common import new_id, utc_now

ENVELOPE = "application/vnd.aiforge.envelope+json"
TOTAL_HEADER = "X-Total-Count"
REQUEST_ID_HEADER = "X-Request-Id"

_READS = frozenset({"GET", "HEAD", "OPTIONS"})

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


_log = logging.getLogger(__name__)


class RequestContext:
    """Names every request, logs what changes something, and answers what nobody foresaw.

    A client may choose the id by sending ``X-Request-Id``: letters, digits and ``._-``, 100 at
    most; any other is replaced.

    Args:
        name_answers: Send the id back; false where the server around the application does so.
    """

    def __init__(self, app: ASGIApp, *, name_answers: bool = True) -> None:
        self.app = app
        self.name_answers = name_answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        wanted = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = wanted if _REQUEST_ID.fullmatch(wanted) else new_id("req")
        scope[REQUEST_ID] = request_id
        status, begun = 0, time.monotonic()
        is_noted = False

        async def send_named(message: Message) -> None:
            nonlocal status, is_noted
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.name_answers:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)
            # The start is sent together with the first of the body: nobody waits for the log.
            if message["type"] == "http.response.body" and not is_noted:
                is_noted = True
                _note(scope, status, time.monotonic() - begun)

        with logs.about(request=request_id):
            try:
                await self.app(scope, receive, send_named)
            except ClientDisconnect:
                return None
            except Exception as error:
                if status:
                    raise
                await unexpected(scope, error)(scope, receive, send_named)


def _note(scope: Scope, status: int, seconds: float) -> None:
    """Log a request that changes something or failed; the query, which may hold a secret, not."""
    level = logging.DEBUG if scope["method"] in _READS else logging.INFO
    if status >= 500:
        level = logging.WARNING
    if _log.isEnabledFor(level):
        told = scope["method"], scope["path"][:200], status, 1000 * seconds
        _log.log(level, "%s %s: %s after %.1f ms", *told)


class LocalClients:
    """Refuses what a web page of another site asks of a server without authentication.

    A page can send forms to this machine, or rebind its own name to this machine's address. Both
    show in ``Host`` or ``Origin``, which a page cannot choose.

    Args:
        is_open: Whether the server asks for no credentials, so that this is needed.
    """

    def __init__(self, app: ASGIApp, is_open: Callable[[], bool]) -> None:
        self.app = app
        self.is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.is_open():
            headers = Headers(scope=scope)
            names = [f"//{headers.get('host', '')}", headers.get("origin", "//localhost")]
            for name in names:
                if not _is_local(name):
                    error = Forbidden(
                        f"{name.lstrip('/')!r} may not use a server without authentication; "
                        "address it as localhost, or run it as AIFORGE_ENV=production.",
                        code="host_not_allowed",
                    )
                    return await render(scope, error)(scope, receive, send)
        return await self.app(scope, receive, send)


@lru_cache(maxsize=256)
def _is_local(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class BodyLimit:
    """Refuses bodies that are too large, before they are read where their length is declared.

    Args:
        limit_of: The limit in bytes for a media type.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self.app = app
        self.limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        limit = self.limit_of(headers.get("content-type", "").partition(";")[0].strip().lower())
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > limit:
            return await render(scope, _too_large(limit))(scope, receive, send)
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLargeError(limit)
            return message

        return await self.app(scope, receive_limited, send)


class BodyTooLargeError(HTTPException):
    """A body of undeclared length turned out to be too large.

    An ``HTTPException``, since FastAPI takes any other one for a body that cannot be parsed.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413)
        self.limit = limit


def _too_large(limit: int) -> Rejected:
    return Rejected(
        f"The request body is larger than {limit:,} bytes; send less, or in several requests.",
        code="body_too_large",
        limit=limit,
    )


class Envelope:
    """Puts successful JSON answers into ``{"data", "meta"}`` for clients that accept only that."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or ENVELOPE not in Headers(scope=scope).get("accept", ""):
            return await self.app(scope, receive, send)
        start: Message | None = None
        body = bytearray()

        async def send_wrapped(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_data(message):
                start = message
                return None
            if start is None or message["type"] != "http.response.body":
                return await send(message)
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return None
            headers = MutableHeaders(scope=start)
            wrapped = b'{"data":' + bytes(body) + b',"meta":' + _meta(scope, headers) + b"}"
            headers["content-type"] = ENVELOPE
            headers["content-length"] = str(len(wrapped))
            await send(start)
            return await send({"type": "http.response.body", "body": wrapped})

        return await self.app(scope, receive, send_wrapped)


def _is_data(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] in (200, 201) and kind.startswith("application/json")


def _meta(scope: Scope, headers: MutableHeaders) -> bytes:
    moment = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    meta: dict[str, object] = {"timestamp": moment}
    if TOTAL_HEADER in headers:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        meta["total"] = int(headers[TOTAL_HEADER])
        meta["limit"] = int(query.get("limit", ["50"])[-1])
        meta["offset"] = int(query.get("offset", ["0"])[-1])
    return json.dumps(meta, separators=(",", ":")).encode()
