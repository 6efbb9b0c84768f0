"""Writes snapshots: filters entries, reads what is new, takes the rest over, accounts for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

import pyarrow as pa
import pyarrow.parquet as pq

from aiforge.errors import Failure
from aiforge.languages import language_of
from aiforge.sources.filters import Filters, read_text
from aiforge.sources.history import CHANGES, CHANGES_FILE
from aiforge.sources.licenses import is_license_file, license_of_file, license_of_text
from aiforge.sources.limits import Deadline, Limits, Progress
from aiforge.sources.snapshot import (
    FILES,
    MANIFEST_FILE,
    SKIPPED,
    SKIPPED_FILE,
    Entry,
    Known,
    Manifest,
    Reader,
    read_manifest,
)
from aiforge.storage import Storage, snapshot_dir

# One Parquet file is one block of a later build: the unit that is spread, and redone after a crash.
_BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 128

_MAX_LICENSE_FILES = 1000
_MAX_LICENSE_BYTES = 1 << 18


class Builder:
    """Writes one snapshot.

    Args:
        read: Gives contents; called for entries that the previous snapshot does not hold.
        previous: Directory of a snapshot whose rows are taken over where path and blob agree.
    """

    def __init__(
        self,
        storage: Storage,
        source_id: str,
        manifest: Manifest,
        *,
        read: Reader,
        previous: str | None,
        filters: Filters,
        limits: Limits,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        self._storage = storage
        self._directory = snapshot_dir(source_id, manifest.revision)
        self._manifest = manifest
        self._read = read
        self._previous = previous
        self._filters = filters
        self._limits = limits
        self._deadline = deadline
        self._progress = progress
        self._skipped: list[Entry] = []
        self._license_files: list[Entry] = []
        self._rows: list[dict[str, object]] = []
        self._read_paths: set[str] = set()
        self._block_bytes = 0

    def build(
        self, entries: Iterable[Entry], changes: Sequence[Mapping[str, str]] = ()
    ) -> Manifest:
        """Filter, read and write; what was written is removed again if that fails.

        Args:
            changes: Rows of ``CHANGES``; those of files that are read are kept.

        Raises:
            Failure: ``source_empty``, ``source_no_files``, ``source_too_large``,
                ``source_timeout``.
        """
        self._storage.delete(self._directory)
        self._storage.filesystem.create_dir(self._storage.full(self._directory))
        try:
            wanted = self._select(entries)
            self._write(wanted)
            self._keep_changes(changes)
            return self._finish(bool(wanted or self._skipped))
        except BaseException:
            self._storage.delete(self._directory)
            raise

    def _select(self, entries: Iterable[Entry]) -> list[Entry]:
        wanted: dict[str, Entry] = {}
        for entry in entries:
            self._note_license(entry)
            reason = entry.skipped or self._filters.skip_path(entry.path, entry.size)
            if reason:
                self._skip(entry, reason)
            else:
                wanted[entry.path] = entry
        total = sum(entry.size for entry in wanted.values())
        if total > self._limits.max_total_bytes:
            raise Failure(
                f"The source holds {total >> 20} MiB of text, more than the "
                f"{self._limits.max_total_bytes >> 20} MiB allowed. Exclude a part by patterns.",
                code="source_too_large",
            )
        return [wanted[path] for path in sorted(wanted)]

    def _write(self, wanted: Sequence[Entry]) -> None:
        licenses = self._licenses()
        known = Known(self._storage, self._previous)
        total = max(1, len(wanted))
        done = 0
        for batch in _batches(wanted):
            self._deadline.check()
            self._progress(done / total, "reading files")
            kept = {entry.path: content for entry, content in known.take(batch)}
            fresh = [entry for entry in batch if entry.path not in kept]
            self._manifest.blobs_read += len(fresh)
            contents = dict(zip((e.path for e in fresh), self._read(fresh), strict=True))
            for entry in batch:
                text, reason = kept.get(entry.path) or read_text(entry.path, contents[entry.path])
                if reason:
                    self._skip(entry, reason, examined=True)
                else:
                    self._add(entry, text, license_of_file(entry.path, text, licenses))
            done += len(batch)
        self._flush()

    def _keep_changes(self, changes: Sequence[Mapping[str, str]]) -> None:
        kept = [dict(change) for change in changes if change["path"] in self._read_paths]
        self._manifest.changes = len(kept)
        if kept:
            self._write_table(pa.Table.from_pylist(kept, CHANGES), CHANGES_FILE)

    def _note_license(self, entry: Entry) -> None:
        """Licence files count whatever the patterns say of them."""
        fits = (
            0 < entry.size <= _MAX_LICENSE_BYTES and len(self._license_files) < _MAX_LICENSE_FILES
        )
        if fits and entry.blob and entry.skipped is None and is_license_file(entry.path):
            self._license_files.append(entry)

    def _licenses(self) -> dict[str, str]:
        """Licence by directory."""
        known = read_manifest(self._storage, self._previous).license_files if self._previous else {}
        found = {
            entry.path: known[entry.path]
            for entry in self._license_files
            if entry.path in known and known[entry.path][0] == entry.blob
        }
        fresh = [entry for entry in self._license_files if entry.path not in found]
        for entry, data in zip(fresh, self._read(fresh), strict=True):
            found[entry.path] = entry.blob, license_of_text(read_text(entry.path, data)[0])
        self._manifest.license_files = found
        return {
            path.rpartition("/")[0]: identifier
            for path, (_, identifier) in sorted(found.items(), reverse=True)
            if identifier
        }

    def _skip(self, entry: Entry, reason: str, examined: bool = False) -> None:
        self._skipped.append(replace(entry, skipped=reason, examined=examined))

    def _add(self, entry: Entry, text: str, license_id: str | None) -> None:
        language = language_of(entry.path, text)
        self._read_paths.add(entry.path)
        self._rows.append(
            {
                "path": entry.path,
                "content": text,
                "size": entry.size,
                "language": language,
                "blob": entry.blob,
                "license": license_id,
            }
        )
        counts = self._manifest
        counts.file_count += 1
        counts.total_bytes += entry.size
        counts.languages[language or "other"] = counts.languages.get(language or "other", 0) + 1
        name = license_id or "unknown"
        counts.licenses[name] = counts.licenses.get(name, 0) + 1
        self._block_bytes += len(text)
        if self._block_bytes >= _BLOCK_BYTES or len(self._rows) >= _BLOCK_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        name = f"files-{len(self._manifest.files):05d}.parquet"
        self._write_table(pa.Table.from_pylist(self._rows, FILES), name)
        self._manifest.files.append(name)
        self._rows, self._block_bytes = [], 0

    def _finish(self, any_files: bool) -> Manifest:
        manifest = self._manifest
        reasons = Counter(_class_of(entry.skipped or "") for entry in self._skipped)
        if not any_files:
            raise Failure(
                "The source holds no files. Add some, then sync again.", code="source_empty"
            )
        if not manifest.file_count:
            listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
            raise Failure(
                f"None of the {len(self._skipped)} files can be read ({listed}). "
                "Change the include and exclude patterns.",
                code="source_no_files",
                skipped=dict(reasons),
            )
        rows = [asdict(entry) for entry in self._skipped]
        self._write_table(pa.Table.from_pylist(rows, SKIPPED), SKIPPED_FILE)
        manifest.skipped_count = len(self._skipped)
        manifest.skipped = dict(reasons.most_common())
        path = f"{self._directory}/{MANIFEST_FILE}"
        self._storage.write_json(path, manifest.model_dump(mode="json"))
        return manifest

    def _write_table(self, table: pa.Table, name: str) -> None:
        path = self._storage.full(f"{self._directory}/{name}")
        pq.write_table(table, path, filesystem=self._storage.filesystem, compression="zstd")


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if size >= _BLOCK_BYTES or len(batch) >= _BLOCK_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _class_of(reason: str) -> str:
    """A reason without the figures of the single file."""
    return reason.partition(",")[0]
