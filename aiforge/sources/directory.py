"""Reading the files of a directory that is no git repository."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from aiforge.errors import Failure
from aiforge.sources import snapshot
from aiforge.sources.filters import Filters
from aiforge.sources.licenses import is_license_file
from aiforge.sources.limits import Deadline, Limits
from aiforge.sources.snapshot import Entry


def walk(root: Path, filters: Filters, limits: Limits, deadline: Deadline) -> Iterator[Entry]:
    """Files below a directory; links are never followed, pruned directories named once.

    Raises:
        Failure: ``source_too_many_files``, ``source_timeout``.
    """
    pending = [""]
    count = 0
    while pending:
        deadline.check()
        parent = pending.pop()
        with os.scandir(root / parent) as found:
            items = sorted(found, key=lambda item: item.name)
        for item in items:
            count += 1
            if count > limits.max_files:
                raise Failure(
                    f"{root} has more than {limits.max_files:,} files. Choose one below it.",
                    code="source_too_many_files",
                )
            path = f"{parent}{item.name}"
            if item.is_symlink():
                yield Entry(_printable(path), 0, "", "symbolic link")
            elif item.is_dir():
                if reason := filters.skip_directory(path):
                    yield Entry(_printable(path) + "/", 0, "", reason)
                else:
                    pending.append(path + "/")
            elif not item.is_file():
                yield Entry(_printable(path), 0, "", "no regular file")
            else:
                yield _stat(root, path, filters)


def _stat(root: Path, path: str, filters: Filters) -> Entry:
    size = (root / path).lstat().st_size
    if _printable(path) != path:
        return Entry(_printable(path), size, "", "file name is not UTF-8")
    reason = filters.skip_path(path, size)
    if reason and not is_license_file(path):
        return Entry(path, size, "", reason)
    try:
        return Entry(path, size, snapshot.blob_id(_read_file(root, path)))
    except PermissionError:
        return Entry(path, size, "", "no permission to read it")


def read_again(root: Path, entry: Entry) -> bytes:
    """Content of a file as it was when it was listed.

    Raises:
        Failure: It is another one by now (``source_changed``).
    """
    data = _read_file(root, entry.path)
    if snapshot.blob_id(data) != entry.blob:
        raise Failure(f"{entry.path} changed while it was read. Sync again.", code="source_changed")
    return data


def _read_file(root: Path, path: str) -> bytes:
    descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Failure(f"{path} changed while it was read. Sync again.", code="source_changed")
        return stream.read()


def _printable(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
