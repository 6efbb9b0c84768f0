"""Files as answers: whole or a part of them, and not again to who has them already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Header, Request, Response
from fastapi.responses import StreamingResponse

from aiforge.api import ranges
from aiforge.api.errors import render
from aiforge.api.responses import Responses, answers
from aiforge.errors import Rejected

Range = Annotated[
    str | None, Header(alias="Range", description="The bytes that are wanted, `bytes=0-1023`.")
]

BINARY: dict[str, Any] = {
    "schema": {"type": "string", "contentMediaType": "application/octet-stream"}
}

Read = Callable[[int, int], Awaitable[Iterator[bytes]]]
"""Gives the bytes from the first position up to, not including, the second."""

_ETAG = {"ETag": {"description": "Hash of the content.", "schema": {"type": "string"}}}


def declared(media: dict[str, Any], *errors: int) -> Responses:
    """What a route answers that answers with a file.

    Args:
        media: Its contents by media type.
        errors: Statuses that it may answer beside those of every file.
    """
    found = answers(None, 404, 416, *errors)
    found[200] = {"description": "The content.", "headers": _ETAG, "content": media}
    part = {"Content-Range": {"description": "Which bytes.", "schema": {"type": "string"}}}
    found[206] = {
        "description": "The part that `Range` asks for.",
        "headers": _ETAG | part,
        "content": {"*/*": BINARY},
    }
    found[304] = {"description": "`If-None-Match` names the content as it is."}
    return found


async def answer(
    request: Request,
    read: Read,
    *,
    sha256: str,
    size: int,
    name: str,
    media_type: str,
    shown: Literal["inline", "attachment"],
) -> Response:
    """A file, the part that the request wants, or the word that the client has it already."""
    # A browser must neither guess another type nor run what a repository put into a file.
    headers = {
        "ETag": f'"{sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if ranges.has(request.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        part = ranges.wanted(request.headers, size, headers["ETag"])
    except Rejected as error:
        refused = render(request.scope, error)
        refused.headers["Content-Range"] = f"bytes */{size}"
        return refused
    start, end = part or (0, size)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        await read(start, end),
        status_code=206 if part else 200,
        headers=headers,
        media_type=media_type,
    )
