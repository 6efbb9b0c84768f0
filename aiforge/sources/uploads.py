"""Uploaded files and archives: checked, unpacked safely, and kept under generated names only.

All contents of one upload lie in one file, with an index beside it that holds the names. So no
name from outside ever becomes a path of this machine.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from aiforge.errors import Failure, InvalidInput, NotFound
from aiforge.sources.limits import Limits
from aiforge.sources.snapshot import Entry, blob_id
from aiforge.storage import Storage, upload_dir

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)

_INDEX = "index.json"
_CONTENT = "content.bin"
_CHUNK = 1 << 16

# What an archive may unpack to before its ratio matters.
_RATIO_FLOOR = 10 << 20
# More than any real header; tarfile holds these in memory.
_MAX_HEADER_BYTES = 1 << 20
# Central directory of a zip file, which zipfile holds in memory.
_MAX_DIRECTORY_BYTES = 64 << 20

# tarfile lists the members that it hands out, and leaves out the headers of the pax format.
_KNOWN_TYPES = (
    *tarfile.SUPPORTED_TYPES,
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


@dataclass(frozen=True)
class Upload:
    """What was received: ``file_count`` files of ``total_bytes``, ``skipped_count`` left out."""

    file_count: int
    skipped_count: int
    total_bytes: int


def receive(
    storage: Storage,
    source_id: str,
    files: Iterable[tuple[str, BinaryIO]],
    limits: Limits | None = None,
) -> Upload:
    """Store the files of an upload; archives (``.zip``, ``.tar.gz``, ``.tgz``) are unpacked.

    Links, devices and files above ``limits.max_file_bytes`` are left out, and listed as such
    by the next sync. What an earlier call stored for the source is replaced.

    Args:
        files: Names as the client gave them, and streams.

    Raises:
        InvalidInput: ``upload_empty``, ``upload_name_invalid`` (absolute, ``..``, control
            characters), ``upload_archive_invalid``, ``upload_too_large``,
            ``upload_too_many_files``; nothing is stored then.
    """
    limits = limits or Limits()
    directory = upload_dir(source_id)
    with tempfile.TemporaryDirectory(prefix="aiforge-upload-") as scratch:
        content = Path(scratch) / _CONTENT
        with content.open("wb") as stream:
            inbox = _Inbox(stream, limits)
            for name, data in files:
                _receive_one(inbox, name, data)
        if not inbox.records:
            raise InvalidInput(
                "The upload holds no files. Send at least one.", code="upload_empty", field="files"
            )
        storage.delete(directory)
        storage.upload(content, f"{directory}/{_CONTENT}")
        storage.write_json(f"{directory}/{_INDEX}", [asdict(r) for r in inbox.records.values()])
    return inbox.totals()


class Received:
    """An upload as it was stored.

    Raises:
        Failure: ``source_empty`` where nothing was.
    """

    def __init__(self, storage: Storage, source_id: str) -> None:
        self._storage = storage
        self._directory = upload_dir(source_id)
        try:
            records = storage.read_json(f"{self._directory}/{_INDEX}")
        except NotFound as error:
            raise Failure(
                "Nothing was uploaded for this source. Upload its files again.",
                code="source_empty",
            ) from error
        self._records = {record["path"]: _Record(**record) for record in records}

    @property
    def entries(self) -> list[Entry]:
        """The files of the upload."""
        return [Entry(r.path, r.size, r.blob, r.skipped) for r in self._records.values()]

    def read(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        """Contents of files, in the order given."""
        with self._storage.open_input(f"{self._directory}/{_CONTENT}") as stream:
            for entry in entries:
                record = self._records[entry.path]
                stream.seek(record.offset)
                yield bytes(stream.read(record.size))


@dataclass
class _Record:
    path: str
    size: int
    blob: str = ""
    offset: int = 0
    skipped: str | None = None


@dataclass
class _Inbox:
    """Where accepted files go; counts what comes in."""

    stream: IO[bytes]
    limits: Limits
    records: dict[str, _Record] = field(default_factory=dict)
    offset: int = 0

    def check_count(self, count: int) -> None:
        if count > self.limits.max_files:
            raise InvalidInput(
                f"The upload holds more than {self.limits.max_files:,} files. Send fewer.",
                code="upload_too_many_files",
                field="files",
            )

    def skip(self, name: str, size: int, reason: str) -> None:
        path = safe_path(name)
        self.records[path] = _Record(path, size, skipped=reason)
        self.check_count(len(self.records))

    def add(self, name: str, source: IO[bytes], size: int | None = None) -> None:
        """Store a file; ``size`` is what its archive declares, to be shown if it is too large."""
        limit = self.limits.max_file_bytes
        data = source.read(limit + 1)
        if len(data) > limit:
            self.skip(name, size or len(data), f"larger than {limit >> 10} KiB")
            return
        path = safe_path(name)
        self.records[path] = _Record(path, len(data), blob_id(data), self.offset)
        self.stream.write(data)
        self.offset += len(data)
        self.check_count(len(self.records))
        if self.offset > self.limits.max_total_bytes:
            raise too_large(self.limits)

    def totals(self) -> Upload:
        kept = [record for record in self.records.values() if record.skipped is None]
        skipped = len(self.records) - len(kept)
        return Upload(len(kept), skipped, sum(record.size for record in kept))


def safe_path(name: str) -> str:
    """A file's path inside an upload, normalised to ``a/b/c``.

    Raises:
        InvalidInput: ``upload_name_invalid``.
    """
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    hostile = (
        not parts
        or path.startswith("/")
        or ".." in parts
        or ":" in parts[0][:2]
        or not name.isprintable()
        or len(name.encode(errors="replace")) > 4096
    )
    if hostile:
        raise InvalidInput(
            f"{name[:200]!r} is no acceptable name of a file. "
            "Use relative paths without `..` or control characters.",
            code="upload_name_invalid",
            field="files",
        )
    return "/".join(parts)


def too_large(limits: Limits) -> InvalidInput:
    """The error for an upload that exceeds its size."""
    return InvalidInput(
        f"The upload unpacks to more than {limits.max_total_bytes >> 20} MiB, or to more than "
        f"{limits.max_archive_ratio} times its size. Send fewer or smaller files.",
        code="upload_too_large",
        field="files",
    )


def _receive_one(inbox: _Inbox, name: str, data: BinaryIO) -> None:
    lowered = name.lower()
    unpack: Callable[[_Inbox, IO[bytes]], None] | None = None
    if lowered.endswith(".zip"):
        unpack = _unpack_zip
    elif lowered.endswith((".tar.gz", ".tgz")):
        unpack = _unpack_tar
    if unpack is None:
        inbox.add(name, data)
        return
    safe_path(name)
    with _seekable(data) as stream:
        try:
            unpack(inbox, stream)
        except _DAMAGE as error:
            raise _bad_archive(name, "it is damaged") from error
        except (NotImplementedError, RuntimeError, ValueError) as error:
            raise _bad_archive(name, "it is encrypted or packed in an unusual way") from error


def _unpack_zip(inbox: _Inbox, stream: IO[bytes]) -> None:
    size = stream.seek(0, io.SEEK_END)
    _check_directory(stream)
    budget = _Budget(inbox, size)
    with zipfile.ZipFile(stream) as archive:
        inbox.check_count(len(archive.infolist()) + len(inbox.records))
        for info in archive.infolist():
            mode = info.external_attr >> 16
            # Not `is_dir`, which fails for a member without a name.
            if info.filename.endswith("/"):
                safe_path(info.filename)
            elif mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                inbox.skip(info.filename, info.file_size, "no regular file")
            else:
                with archive.open(info) as member:
                    inbox.add(info.filename, budget.watch(member), info.file_size)


def _unpack_tar(inbox: _Inbox, stream: IO[bytes]) -> None:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    count = len(inbox.records)
    unpacked = _Budget(inbox, size).watch(gzip.GzipFile(fileobj=stream, mode="rb"))
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Member) as archive:
        for member in archive:
            count += 1
            inbox.check_count(count)
            if member.isdir():
                if member.name.strip("./"):
                    safe_path(member.name)
                continue
            plain = member.isreg() and not member.issparse()
            content = archive.extractfile(member) if plain else None
            if content is None:
                inbox.skip(member.name, member.size, "no regular file")
            else:
                inbox.add(member.name, content, member.size)


class _Budget:
    """Bytes that one archive may unpack to, counted over all that is read through ``watch``."""

    def __init__(self, inbox: _Inbox, archive_bytes: int) -> None:
        ratio = max(_RATIO_FLOOR, inbox.limits.max_archive_ratio * archive_bytes)
        self._left = min(inbox.limits.max_total_bytes, ratio)
        self._limits = inbox.limits

    def watch(self, stream: IO[bytes] | gzip.GzipFile) -> IO[bytes]:
        return io.BufferedReader(_Counted(stream, self), _CHUNK)

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise too_large(self._limits)


class _Counted(io.RawIOBase):
    """A stream that charges what is read of it."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._budget.spend(len(data))
        buffer[: len(data)] = data
        return len(data)


class _Member(tarfile.TarInfo):
    """A member whose header may not be larger than headers are."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in _KNOWN_TYPES or (
            self.type not in tarfile.REGULAR_TYPES and self.size > _MAX_HEADER_BYTES
        ):
            raise tarfile.ReadError("a header is out of bounds")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]


def _check_directory(stream: IO[bytes]) -> None:
    """Refuse a zip file whose list of members would not fit into memory."""
    # The very function that ZipFile uses, so that both see the same figures.
    end = zipfile._EndRecData(stream)  # type: ignore[attr-defined]
    if end is None:
        raise zipfile.BadZipFile("no end of central directory")
    if end[5] > _MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile("central directory is out of bounds")


@contextlib.contextmanager
def _seekable(data: BinaryIO) -> Iterator[IO[bytes]]:
    """The stream itself where it can be rewound, else a copy of it."""
    if data.seekable():
        data.seek(0)
        yield data
    else:
        with tempfile.TemporaryFile(prefix="aiforge-archive-") as copy:
            shutil.copyfileobj(data, copy, _CHUNK)
            copy.seek(0)
            yield copy


def _bad_archive(name: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"The archive {name[:200]!r} cannot be unpacked: {reason}. "
        "Send a plain .zip or .tar.gz, or the files themselves.",
        code="upload_archive_invalid",
        field="files",
    )
