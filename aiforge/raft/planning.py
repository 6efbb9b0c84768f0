"""What a build is to do: the blocks of its snapshots, and how they are put into shards."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from aiforge.raft.packs import Block, FileVersion, known_files, pack_name
from aiforge.raft.split import FileKey, validation_files
from aiforge.raft.stages import Numbered
from aiforge.schemas.datasets import RaftConfig, StageYield
from aiforge.storage import Storage, chunks_dir

_COLUMNS = ["path", "blob", "language", "license"]
_SHARD_CHUNKS = 8192


@dataclass(frozen=True)
class SnapshotRef:
    """A snapshot of a source; ``path`` is its directory, relative to the storage."""

    source_id: str
    path: str


@dataclass(frozen=True)
class Plan:
    """Blocks, the files of each, and the account of the files."""

    blocks: list[Block]
    files: list[list[FileVersion]]
    report: StageYield

    @property
    def file_count(self) -> int:
        """Files of all blocks."""
        return sum(block.file_count for block in self.blocks)

    def packs(self) -> dict[str, dict[str, list[FileVersion]]]:
        """By source: in which pack which files are when all is chunked."""
        found: dict[str, dict[str, list[FileVersion]]] = defaultdict(dict)
        for block, files in zip(self.blocks, self.files, strict=True):
            found[block.source_id][block.pack] = files
        return found


def plan_blocks(
    storage: Storage, snapshots: Iterable[SnapshotRef], config: RaftConfig, key: str
) -> Plan:
    """The Parquet files of snapshots, with the split decided, and what is known of each.

    Args:
        key: Fingerprint of how files become chunks.
    """
    skipped: Counter[str] = Counter()
    found = []
    keys: list[FileKey] = []
    for snapshot in snapshots:
        manifest = storage.read_json(f"{snapshot.path}/manifest.json")
        skipped.update(manifest["skipped"])
        commit = manifest["commit"] or manifest["revision"]
        known = known_files(storage, snapshot.source_id, key)
        for name in manifest["files"]:
            path = f"{snapshot.path}/{name}"
            full = storage.full(path)
            table = pq.read_table(full, columns=_COLUMNS, filesystem=storage.filesystem)
            paths, blobs, languages = (table.column(n).to_pylist() for n in _COLUMNS[:3])
            files = list(zip(paths, blobs, strict=True))
            pack = f"{chunks_dir(snapshot.source_id, key)}/{pack_name(table)}"
            keys += [
                FileKey(snapshot.source_id, path, blob, language)
                for (path, blob), language in zip(files, languages, strict=True)
            ]
            found.append((snapshot.source_id, path, commit, files, pack, known))
    held_out = validation_files(keys, config.validation_fraction, config.seed)
    blocks = [
        Block(
            path,
            source_id,
            commit,
            frozenset(path for path, _ in files if (source_id, path) in held_out),
            len(files),
            min((path for path, _ in files), default=""),
            max((path for path, _ in files), default=""),
            pack,
            {version: known[version] for version in files if version in known},
        )
        for source_id, path, commit, files, pack, known in found
    ]
    entered = len(keys) + skipped.total()
    report = StageYield(
        stage="files", entered=entered, left=len(keys), dropped=dict(skipped.most_common())
    )
    return Plan(blocks, [files for *_, files, _, _ in found], report)


def shards_of(blocks: Sequence[Numbered], count: int) -> list[tuple[Numbered, ...]]:
    """Blocks in groups of about equally many chunks, as few as a shard may hold.

    Args:
        blocks: Of the whole corpus, in order.
        count: Chunks of the corpus.
    """
    number = max(1, math.ceil(count / _SHARD_CHUNKS))
    groups: dict[int, list[Numbered]] = defaultdict(list)
    ends = [*(item.start for item in blocks[1:]), count]
    for item, end in zip(blocks, ends, strict=True):
        groups[min(number - 1, (item.start + end) * number // (2 * max(count, 1)))].append(item)
    return [tuple(group) for _, group in sorted(groups.items())]
