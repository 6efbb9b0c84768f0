"""Uploads in ``multipart/form-data``, received with bounded memory and one file descriptor.

All parts go into one temporary file as they arrive; each uploaded file is a window on it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dataclasses import field as default
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import (
    MultipartParser,
    parse_options_header,
)

from aiforge.errors import InvalidInput, SchemaViolation, Unavailable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEDIA_TYPE = "multipart/form-data"

MAX_FILES = 1000
MAX_FIELDS = 20
MAX_FIELD_BYTES = 1 << 20

_BLOCK_BYTES = 1 << 18


@dataclass
class Form:
    """What was sent.

    ``fingerprint`` is the same for the same fields and files, whatever separates them.
    """

    fields: dict[str, str] = default(default_factory=dict)
    files: list[tuple[str, BinaryIO]] = default(default_factory=list)
    fingerprint: bytes = b""


@asynccontextmanager
async def receive(request: Request, files_field: str) -> AsyncIterator[Form]:
    """The form in a request's body; its files can be read until the block ends.

    Args:
        files_field: The field that files come in; other fields hold text.

    Raises:
        SchemaViolation: The body is no such form.
        InvalidInput: There are too many files.
        Unavailable: The disk is full.
    """
    with tempfile.TemporaryFile(prefix="aiforge-form-") as spool:
        collector = _Collector(spool, files_field)
        try:
            parser = MultipartParser(_boundary(request), collector.callbacks())
            async for block in _blocks(request):
                await asyncio.to_thread(parser.write, block)
        except FormParserError as error:
            raise _malformed(str(error)) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise Unavailable(
                "No space is left for the upload; free some on the server.",
                code="disk_full",
                retryAfter=60,
            ) from error
        yield collector.form()


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces that are worth a thread's while."""
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= _BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise _malformed("its Content-Type names no boundary")
    return boundary


class _Window(io.RawIOBase):
    """A part of a file, as a file of its own."""

    def __init__(self, spool: IO[bytes], start: int, size: int) -> None:
        self._spool = spool
        self._start = start
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), max(0, self._size - self._at))
        self._spool.seek(self._start + self._at)
        data = self._spool.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@dataclass
class _Part:
    field: str
    filename: str | None
    start: int
    size: int = 0
    text: bytearray = default(default_factory=bytearray)


class _Collector:
    """Takes the parser's callbacks; runs in a thread."""

    def __init__(self, spool: IO[bytes], files_field: str) -> None:
        self._spool = spool
        self._files_field = files_field
        self._digest = hashlib.sha256()
        self._parts: list[_Part] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._size = 0
        self._ended = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }

    def form(self) -> Form:
        if not self._ended:
            raise _malformed("it ends before its last boundary")
        form = Form()
        for part in self._parts:
            self._digest.update(f"{part.field}\0{part.filename}\0{part.size}\0".encode())
            if part.filename is not None:
                window = io.BufferedReader(_Window(self._spool, part.start, part.size), 1 << 16)
                form.files.append((part.filename, cast(BinaryIO, window)))
            elif part.field in form.fields:
                raise _wrong_field(part.field, "Given twice")
            else:
                form.fields[part.field] = _decode(part.text, part.field)
        form.fingerprint = self._digest.digest()
        return form

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise _malformed("a part has no name")
        name = _decode(options[b"name"], "name")
        filename = options.get(b"filename")
        if (filename is not None) != (name == self._files_field):
            raise _wrong_field(name, "Must be text" if filename is not None else "Must be a file")
        decoded = None if filename is None else _decode_filename(filename)
        self._parts.append(_Part(name, decoded, self._size))
        files = sum(part.filename is not None for part in self._parts)
        if files > MAX_FILES:
            raise InvalidInput(
                f"The upload holds more than {MAX_FILES:,} files; "
                "pack them into one .zip or .tar.gz.",
                code="upload_too_many_files",
                field=self._files_field,
            )
        if len(self._parts) - files > MAX_FIELDS:
            raise _malformed("it has too many fields")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        chunk = data[start:end]
        self._digest.update(chunk)
        part.size += len(chunk)
        if part.filename is not None:
            self._spool.write(chunk)
            self._size += len(chunk)
        else:
            part.text += chunk
            if part.size > MAX_FIELD_BYTES:
                raise InvalidInput(
                    f"The field is longer than {MAX_FIELD_BYTES:,} bytes.",
                    code="field_too_long",
                    field=part.field,
                )

    def _on_end(self) -> None:
        self._ended = True


def _decode(data: bytes | bytearray, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _wrong_field(name, "Must be UTF-8 text") from error


def _decode_filename(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"The name of a file, {data[:100]!r}, is not UTF-8; rename it.",
            code="upload_name_invalid",
            field="files",
        ) from error


def _wrong_field(name: str, error: str) -> SchemaViolation:
    return SchemaViolation(
        f"The form's field {name[:100]!r}: {error}.", field=name[:100], error=error
    )


def _malformed(reason: str) -> SchemaViolation:
    return SchemaViolation(
        f"The body is no proper multipart form: {reason}.", code="multipart_invalid"
    )
