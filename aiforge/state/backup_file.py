"""The file that a backup of the state is: compressed JSON lines that check themselves.

The first line tells what it is, then each table has a line of its columns and one line for each
row, and the last line holds the number of rows and the SHA-256 of all lines before it. A file
that was cut off or changed is refused before anything is read from it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from aiforge.errors import InvalidInput
from aiforge.schemas.common import Wire

FORMAT = "aiforge-state"
VERSION = 1

Category = Literal["json", "moment", "boolean", "plain"]
"""How a column's values are written: JSON as its text, a moment in UTC as ISO 8601."""


class Header(Wire):
    """The first line."""

    format: Literal["aiforge-state"]
    version: Literal[1]
    revision: str
    """Of the tables, as the migrations count."""

    made_at: datetime
    counters: dict[str, int]
    """By table, the last number that its automatic key gave out."""


class TableHead(Wire):
    """What stands before the rows of a table."""

    table: str
    columns: dict[str, Category]


class Writer:
    """Appends to a backup."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.rows = 0

    def head(self, part: Header | TableHead) -> None:
        """Write what describes the file or the table that follows."""
        self._line(part.model_dump(mode="json", by_alias=True))

    def row(self, values: list[Any]) -> None:
        """Write one row."""
        self._line(values)
        self.rows += 1

    def end(self) -> None:
        """Write the line by which the file is known to be whole."""
        ending = {"rows": self.rows, "sha256": self._digest.hexdigest()}
        self._stream.write(json.dumps(ending).encode() + b"\n")

    def _line(self, value: Any) -> None:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        self._stream.write(line)


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A backup that appears under its name once it is whole, readable by its owner only.

    It holds the hashes of API keys and the secrets of webhooks.

    Raises:
        InvalidInput: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.open(raw, "wb", compresslevel=6) as stream:
                writer = Writer(stream)
                yield writer
                writer.end()
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(path)
    except OSError as error:
        raise InvalidInput(
            f"Cannot write {path}: {error.strerror}.", code="backup_not_written"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def verified(path: Path) -> Header:
    """Read a backup to its end, and return its first line if all of it is there.

    Raises:
        InvalidInput: It is no backup, of a newer kind, cut off or changed.
    """
    digest, rows, previous = hashlib.sha256(), 0, b""
    header: Header | None = None
    try:
        with gzip.open(path, "rb") as stream:
            for line in stream:
                if previous:
                    digest.update(previous)
                    header = header or _header(path, previous)
                    rows += previous.startswith(b"[")
                previous = line
        ending = json.loads(previous) if previous else None
    except (OSError, EOFError, ValueError) as error:
        raise _broken(path, f"it cannot be read ({error})") from error
    if header is None or ending != {"rows": rows, "sha256": digest.hexdigest()}:
        raise _broken(path, "it was cut off or changed")
    return header


def parts(path: Path) -> Iterator[TableHead | list[Any]]:
    """The tables and rows of a backup that was verified, in the order in which they stand."""
    with gzip.open(path, "rb") as stream:
        next(stream)
        for line in stream:
            value = json.loads(line)
            if isinstance(value, list):
                yield value
            elif "table" in value:
                yield TableHead.model_validate(value)


def _header(path: Path, line: bytes) -> Header:
    try:
        return Header.model_validate_json(line)
    except ValidationError as error:
        raise _broken(path, "its first line is none of a backup that this version reads") from error


def _broken(path: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is no whole backup: {reason}. Nothing was changed; take another file.",
        code="backup_broken",
    )
