"""This machine's copies of exported files that lie on an object store.

Engines load files of the local disk alone. A copy is of use as long as its export is, which other
machines are not told of; so copies go by what they were last used for, and are fetched anew.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiforge.errors import Unavailable
from aiforge.settings import Settings

IN_USE_SECONDS = 3600.0
"""A copy that was used within it stays: a server may be sent it, or an engine have it mapped."""

DAY = 86_400.0


@dataclass(frozen=True)
class _Copy:
    path: Path
    size: int
    idle: float
    """Seconds since it was used."""


def find(settings: Settings, sha256: str) -> Path | None:
    """The copy of a file, which counts as used now; ``None`` where there is none."""
    path = _path(settings, sha256)
    try:
        # What an engine has loaded it knows by the time of the last change, which stays.
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        return None
    return path


@contextmanager
def fetched(settings: Settings, sha256: str, size: int) -> Iterator[tuple[Path, Path]]:
    """Where to write a copy, and where it lies once the block has ended without an error.

    Raises:
        Unavailable: The disk has no room for it (``disk_full``).
    """
    make_room(settings, size)
    path = _path(settings, sha256)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial, path
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def forget(settings: Settings, sha256: str) -> None:
    """Remove the copy of a file, if there is one."""
    _path(settings, sha256).unlink(missing_ok=True)


def make_room(settings: Settings, size: int = 0) -> None:
    """Remove what was not used for long, and what another copy of this size leaves no room for.

    Those used longest ago go first, and none that may be in use. What was left of a fetch that
    was killed is treated alike.

    Raises:
        Unavailable: The disk has no room even so (``disk_full``).
    """
    directory = _directory(settings)
    directory.mkdir(parents=True, exist_ok=True)
    copies = sorted(_copies(directory), key=lambda copy: copy.idle, reverse=True)
    total = size + sum(copy.size for copy in copies)
    free = shutil.disk_usage(directory).free
    days = settings.retention.cache_days
    for copy in copies:
        is_old = days is not None and copy.idle > days * DAY
        is_full = total > settings.gguf_cache_bytes or free < size
        if copy.idle < IN_USE_SECONDS or not (is_old or is_full):
            break
        copy.path.unlink(missing_ok=True)
        total -= copy.size
        free += copy.size
    if free < size:
        raise Unavailable(
            f"The exported file takes {size / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free "
            f"under {directory}; free some space, or export fewer bits.",
            code="disk_full",
            retryAfter=60,
        )


def _copies(directory: Path) -> Iterator[_Copy]:
    now = time.time()
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            status = path.stat()
            used = max(status.st_atime, status.st_mtime)
            yield _Copy(path, status.st_size, now - used)


def _directory(settings: Settings) -> Path:
    return settings.home / "cache" / "gguf"


def _path(settings: Settings, sha256: str) -> Path:
    return _directory(settings) / f"{sha256}.gguf"
