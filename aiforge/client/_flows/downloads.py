"""Files from the server: resumed where they broke off, checked before they get their name."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import httpx

from aiforge.client._files import Progress
from aiforge.client._flow import Call, Flow, Open, Read, Sleep, Stream
from aiforge.client._retry import error_of, unreachable
from aiforge.errors import Failure, Unavailable

ATTEMPTS = 6
SILENCE_SECONDS = 60.0
_UNFIT = re.compile(r"[^\w. -]+")
_PIECE = 1 << 20


def save(
    path: str,
    target: str | os.PathLike[str],
    *,
    name: str,
    size: int,
    sha256: str,
    progress: Progress | None,
) -> Flow[Path]:
    """Download a file; what an earlier, interrupted download has left is not sent again.

    Args:
        path: Route of the file.
        target: The file to write, or a directory, in which it gets its own name.
        name: Its own name.
        size: Its bytes.
        sha256: Of its content, which is compared before the file appears under its name.
        progress: Called with the bytes that are there so far and the bytes in all.

    Raises:
        Failure: What arrived is not the file (``download_corrupt``).
        ServerUnreachable: The connection breaks again and again; the next call goes on from there.
    """
    place = Path(target).expanduser()
    place = place / fit_name(name) if place.is_dir() else place
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name[:200]}.{sha256[:12]}.part")
    part.touch()
    failures = 0
    while (have := part.stat().st_size) < size:
        try:
            yield from _receive(path, part, have, size, sha256, progress)
        except (httpx.TransportError, Unavailable) as error:
            failures = 0 if part.stat().st_size > have else failures + 1
            if failures >= ATTEMPTS:
                if isinstance(error, httpx.TransportError):
                    raise unreachable(error) from error
                raise
            yield Sleep(min(5.0, 0.1 * 2**failures))
    if _digest(part) != sha256:
        part.unlink()
        raise Failure(
            f"What arrived of {name} is not what the server holds; download it again.",
            code="download_corrupt",
        )
    part.replace(place)
    if progress is not None:
        progress(size, size)
    return place


def fit_name(name: str) -> str:
    """A name that is one plain file name on every system, whatever the server says."""
    return _UNFIT.sub("-", name).strip(" .-")[:150] or "file"


def _receive(
    path: str, part: Path, have: int, size: int, sha256: str, progress: Progress | None
) -> Flow[None]:
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{sha256}"'}
    source: Stream = yield Open(Call("GET", path, headers=headers, timeout=SILENCE_SECONDS))
    if source.response.is_error:
        raise error_of(source.response)
    resumed = source.response.status_code == httpx.codes.PARTIAL_CONTENT
    received = have if resumed else 0
    with part.open("ab" if resumed else "wb") as stream:
        while chunk := (yield Read(source)):
            stream.write(chunk)
            received += len(chunk)
            if received > size:
                # More than was announced, which the digest will tell.
                return
            if progress is not None:
                progress(received, size)
    if received < size:
        raise httpx.ReadError("The answer ended early.", request=source.response.request)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
