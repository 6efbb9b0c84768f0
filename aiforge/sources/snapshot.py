"""One revision of a source on disk: Parquet rows of text files, and what was left out, with why.

A snapshot counts as there once its manifest is, which is written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from aiforge.languages import language_of
from aiforge.schemas.common import Timestamp, Wire, utc_now
from aiforge.schemas.sources import SourceFile, SourceHistory
from aiforge.sources.filters import FILTERS_VERSION
from aiforge.storage import Storage, latest_snapshot, snapshot_dir

FILES = pa.schema(
    [
        ("path", pa.string()),
        ("content", pa.string()),
        ("size", pa.int64()),
        ("language", pa.string()),
        ("blob", pa.string()),
        ("license", pa.string()),
    ]
)
SKIPPED = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("blob", pa.string()),
        ("skipped", pa.string()),
        ("examined", pa.bool_()),
    ]
)

MANIFEST_FILE = "manifest.json"
SKIPPED_FILE = "skipped.parquet"


@dataclass(frozen=True)
class Entry:
    """One file of a source before it is read; ``skipped`` is why it will not be.

    ``examined`` says that its content is the reason.
    """

    path: str
    size: int
    blob: str
    skipped: str | None = None
    examined: bool = False


Reader = Callable[[Iterable[Entry]], Iterator[bytes]]
"""Gives the content of entries, in their order."""


class Manifest(Wire):
    """What a snapshot holds; ``blobs_read`` of its files were not in the snapshot before it."""

    revision: str
    filters_version: int = FILTERS_VERSION
    commit: str | None = None
    branch: str | None = None
    created_at: Timestamp = Field(default_factory=utc_now)
    files: list[str] = Field(default_factory=list)
    file_count: int = 0
    skipped_count: int = 0
    total_bytes: int = 0
    blobs_read: int = 0
    languages: dict[str, int] = Field(default_factory=dict)
    licenses: dict[str, int] = Field(default_factory=dict)
    skipped: dict[str, int] = Field(default_factory=dict)
    history: SourceHistory | None = None
    changes: int = 0
    """Rows of ``changes.parquet``: recent commits that questions can be asked about."""

    license_files: dict[str, tuple[str, str | None]] = Field(default_factory=dict)
    """Blob and licence of each licence file by path, so that none is read twice."""


def blob_id(data: bytes) -> str:
    """The id that git gives to content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def exists(storage: Storage, source_id: str, revision: str) -> bool:
    """Whether the snapshot of a revision is complete."""
    return storage.exists(f"{snapshot_dir(source_id, revision)}/{MANIFEST_FILE}")


def read_manifest(storage: Storage, snapshot: str) -> Manifest:
    """The manifest of a snapshot, given its storage-relative directory."""
    return Manifest.model_validate(storage.read_json(f"{snapshot}/{MANIFEST_FILE}"))


def list_files(storage: Storage, snapshot: str) -> list[SourceFile]:
    """All files of a source by path: those read, and those skipped with the reason."""
    columns = ["path", "size", "language", "blob"]
    files = [
        SourceFile(**row)
        for name in read_manifest(storage, snapshot).files
        for row in read_table(storage, f"{snapshot}/{name}", columns).to_pylist()
    ]
    columns = ["path", "size", "blob", "skipped"]
    skipped = read_table(storage, f"{snapshot}/{SKIPPED_FILE}", columns).to_pylist()
    files += [SourceFile(language=language_of(row["path"]), **row) for row in skipped]
    return sorted(files, key=lambda file: file.path)


def latest_read(storage: Storage, source_id: str) -> str | None:
    """Directory of the snapshot of a source that was read last."""
    pointer = latest_snapshot(source_id)
    if not storage.exists(pointer):
        return None
    revision = storage.read_json(pointer)["revision"]
    return snapshot_dir(source_id, revision) if exists(storage, source_id, revision) else None


def latest(storage: Storage, source_id: str) -> str | None:
    """Directory of the snapshot of a source that was read last and can be built upon."""
    directory = latest_read(storage, source_id)
    if directory is None:
        return None
    usable = read_manifest(storage, directory).filters_version == FILTERS_VERSION
    return directory if usable else None


def mark_latest(storage: Storage, source_id: str, revision: str) -> None:
    """Make a revision the one that the next sync builds upon."""
    storage.write_json(latest_snapshot(source_id), {"revision": revision})


class Known:
    """What a snapshot says of files, streamed beside an ordered list of entries."""

    def __init__(self, storage: Storage, snapshot: str | None) -> None:
        self._skipped: dict[tuple[str, str], str] = {}
        self._rows: Iterator[dict[str, str]] = iter(())
        if snapshot is not None:
            skipped = read_table(storage, f"{snapshot}/{SKIPPED_FILE}", None)
            self._skipped = {
                (row["path"], row["blob"]): row["skipped"]
                for row in skipped.to_pylist()
                if row["examined"]
            }
            self._rows = _stream(storage, snapshot)
        self._row = next(self._rows, None)

    def take(self, batch: Sequence[Entry]) -> Iterator[tuple[Entry, tuple[str, str | None]]]:
        """The entries that are known, each with its text and why it was left out."""
        for entry in batch:
            while self._row is not None and self._row["path"] < entry.path:
                self._row = next(self._rows, None)
            row = self._row
            if row is not None and (row["path"], row["blob"]) == (entry.path, entry.blob):
                yield entry, (row["content"], None)
            elif reason := self._skipped.get((entry.path, entry.blob)):
                yield entry, ("", reason)


def _stream(storage: Storage, snapshot: str) -> Iterator[dict[str, str]]:
    for name in read_manifest(storage, snapshot).files:
        table = read_table(storage, f"{snapshot}/{name}", ["path", "blob", "content"])
        yield from table.to_pylist()


def read_table(storage: Storage, path: str, columns: list[str] | None) -> pa.Table:
    """A Parquet file of a snapshot."""
    return pq.read_table(storage.full(path), columns=columns, filesystem=storage.filesystem)
