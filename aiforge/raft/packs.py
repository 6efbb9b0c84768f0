"""Chunks as they are kept between builds: Arrow files below their source, one for each block.

A pack is named by all that it follows from: the files of its block, how they are split, and what
hygiene does to them. So a build that is repeated finds what it had finished, and a build of later
commits takes the chunks of unchanged files over from the packs before. ``blobs.arrow`` says in
which pack a file's chunks lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.feather as feather

from aiforge.errors import NotFound
from aiforge.raft import filters
from aiforge.raft.chunking import CHUNKER_VERSION
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage, chunks_dir

PACK_VERSION = 2
"""Raised whenever the same file would give another row of ``PACK``."""

BLOBS_FILE = "blobs.arrow"
_BLOBS = pa.schema([("path", pa.string()), ("blob", pa.string()), ("pack", pa.string())])
_NOT_OF_CHUNKS = {
    *("distractors", "golden_probability", "context_tokens", "validation_fraction", "seed"),
}

FileVersion = tuple[str, str]
"""Path and blob of a file."""


@dataclass(frozen=True)
class Block:
    """One Parquet file of a snapshot, and which of its files only validation may see.

    ``first`` and ``last`` are the bounds of its paths. ``pack`` is where its chunks are kept,
    ``known`` gives for files that were split before the pack that holds their chunks.
    """

    path: str
    source_id: str
    commit: str
    held_out: frozenset[str]
    file_count: int
    first: str = ""
    last: str = ""
    pack: str = ""
    known: Mapping[FileVersion, str] = field(default_factory=dict)


def fingerprint(config: RaftConfig, tokenizer_json: str) -> str:
    """Name of everything that chunks follow from beside their files."""
    settings = config.model_dump(mode="json", exclude=_NOT_OF_CHUNKS)
    parts = [CHUNKER_VERSION, PACK_VERSION, settings, filters.versions()]
    return _digest([*map(json.dumps, parts), tokenizer_json])


def pack_name(files: pa.Table) -> str:
    """Name of the pack of some files, given the columns ``path``, ``blob``, ``license``, …"""
    columns = [files.column(name).to_pylist() for name in files.column_names]
    return f"{_digest(map(repr, columns))}.arrow"


def known_files(storage: Storage, source_id: str, key: str) -> dict[FileVersion, str]:
    """In which pack the chunks of each file lie that an earlier build split."""
    path = f"{chunks_dir(source_id, key)}/{BLOBS_FILE}"
    if not storage.exists(path):
        return {}
    table = read_arrow(storage, path)
    paths, blobs, packs = (table.column(name).to_pylist() for name in _BLOBS.names)
    return dict(zip(zip(paths, blobs, strict=True), packs, strict=True))


def remember_files(
    storage: Storage, source_id: str, key: str, packs: Mapping[str, Sequence[FileVersion]]
) -> None:
    """Record which pack holds which files, and remove the packs that no longer hold any."""
    directory = chunks_dir(source_id, key)
    rows = [(path, blob, pack) for pack, files in packs.items() for path, blob in files]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    table = pa.table(dict(zip(_BLOBS.names, columns, strict=True)), schema=_BLOBS)
    write_arrow(storage, f"{directory}/{BLOBS_FILE}", table)
    storage.delete_stale(directory, {BLOBS_FILE, *(pack.rpartition("/")[2] for pack in packs)})


def read_arrow(storage: Storage, path: str, columns: list[str] | None = None) -> pa.Table:
    """A table that ``write_arrow`` wrote.

    Raises:
        NotFound: There is none.
    """
    try:
        with storage.open_input(path) as stream:
            return feather.read_table(stream, columns=columns, memory_map=False)
    except FileNotFoundError as error:
        raise NotFound(f"{storage.uri_of(path)} does not exist.", code="file_not_found") from error


def write_arrow(storage: Storage, path: str, table: pa.Table) -> None:
    """Write a table so that a reader sees all of it or nothing."""
    sink = pa.BufferOutputStream()
    feather.write_feather(table, sink, compression="lz4")
    storage.write_bytes(path, sink.getvalue())


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="replace")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]
