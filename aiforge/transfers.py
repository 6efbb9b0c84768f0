"""Files to and from an object store: what is interrupted goes on, what is damaged is found.

A large file has a small one beside it, named ``.NAME.sha256``, that holds its digest and is written
last. So a repeated upload sends only what is not there yet, and a download knows what it should be.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.fs as pafs

from aiforge.errors import Failure

PIECE_BYTES = 8 << 20

CHECKED_BYTES = 16 << 20
"""Size from which a file has its digest beside it; a smaller one is sent and fetched at once."""

ATTEMPTS = 5
"""How often in a row a download may break off without having got further."""

PAUSE_SECONDS = 0.5
"""Before the first repetition; each further one waits twice as long."""

PARALLEL = 4


def send(filesystem: pafs.FileSystem, local: Path, target: str) -> None:
    """Copy a local file or directory to the store.

    Raises:
        OSError: The store does not take it; what was sent stays, and is not sent again.
    """
    files = [local] if local.is_file() else [path for path in local.rglob("*") if path.is_file()]
    paths = {path: _join(target, path.relative_to(local).as_posix()) for path in files}
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda path: _send(filesystem, path, paths[path]), files))


def _send(filesystem: pafs.FileSystem, local: Path, target: str) -> None:
    size = local.stat().st_size
    if size < CHECKED_BYTES:
        _copy(filesystem, local, target)
        return
    digest = _digest(local)
    there = filesystem.get_file_info(target)
    if there.size == size and _stored_digest(filesystem, target) == digest:
        return
    # An older file's digest must not stand beside a newer file.
    if filesystem.get_file_info(_beside(target)).type == pafs.FileType.File:
        filesystem.delete_file(_beside(target))
    _copy(filesystem, local, target)
    with filesystem.open_output_stream(_beside(target)) as stream:
        stream.write(digest.encode())


def _copy(filesystem: pafs.FileSystem, local: Path, target: str) -> None:
    with local.open("rb") as source, filesystem.open_output_stream(target) as stream:
        while piece := source.read(PIECE_BYTES):
            stream.write(piece)


def fetch(filesystem: pafs.FileSystem, source: str, local: Path) -> None:
    """Copy a file or directory of the store to a local path; each file appears as a whole.

    What an earlier call left unfinished is continued, unless the file was replaced since.

    Raises:
        Failure: A file is not what was sent (``transfer_damaged``).
        OSError: The store does not answer any more.
    """
    found = filesystem.get_file_info(source)
    if found.type == pafs.FileType.File:
        _fetch(filesystem, found, local)
        return
    local.mkdir(parents=True, exist_ok=True)
    selected = filesystem.get_file_info(pafs.FileSelector(source, recursive=True))
    files = [one for one in selected if one.type == pafs.FileType.File and not _is_digest(one.path)]
    paths = {one.path: local / one.path.removeprefix(source).lstrip("/") for one in files}
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda one: _fetch(filesystem, one, paths[one.path]), files))


def _fetch(filesystem: pafs.FileSystem, found: pafs.FileInfo, local: Path) -> None:
    local.parent.mkdir(parents=True, exist_ok=True)
    digest = _stored_digest(filesystem, found.path) if found.size >= CHECKED_BYTES else None
    partial = local.with_name(f".{local.name}.{found.mtime_ns}-{found.size}.partial")
    resumed = partial.exists()
    try:
        _complete(filesystem, found, partial)
    except BlockingIOError:
        # Another process of this machine is at it; two must not append to one file.
        partial = partial.with_name(f"{partial.name}.{uuid.uuid4().hex}")
        resumed = False
        _complete(filesystem, found, partial)
    if not partial.exists() and local.exists():
        # Another process was done with it between two steps of this one.
        return
    if digest is not None and _digest(partial) != digest:
        partial.unlink()
        if resumed:
            _fetch(filesystem, found, local)
            return
        raise Failure(
            f"{found.path} is not what was stored there; make it again.", code="transfer_damaged"
        )
    partial.replace(local)


def _complete(filesystem: pafs.FileSystem, found: pafs.FileInfo, partial: Path) -> None:
    """Append what is missing of a file, however often the connection breaks.

    Raises:
        BlockingIOError: Another process is doing so.
    """
    with partial.open("ab") as out:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        failures = 0
        while (done := os.fstat(out.fileno()).st_size) < found.size:
            try:
                for piece in _from(filesystem, found.path, done):
                    out.write(piece)
                    out.flush()
                    failures = 0
            except OSError:
                failures += 1
                if failures >= ATTEMPTS:
                    raise
                time.sleep(PAUSE_SECONDS * 2 ** (failures - 1))
        os.fsync(out.fileno())


def _from(filesystem: pafs.FileSystem, path: str, start: int) -> Iterator[bytes]:
    with filesystem.open_input_file(path) as stream:
        stream.seek(start)
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stored_digest(filesystem: pafs.FileSystem, path: str) -> str | None:
    """What a file was when it was sent; ``None`` where it was not sent by this module."""
    try:
        with filesystem.open_input_stream(_beside(path)) as stream:
            return bytes(stream.read()).decode()
    except FileNotFoundError:
        return None


def _beside(path: str) -> str:
    directory, _, name = path.rpartition("/")
    return f"{directory}/.{name}.sha256"


def _is_digest(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(".sha256")


def _join(target: str, relative: str) -> str:
    return target if relative == "." else f"{target}/{relative}"
