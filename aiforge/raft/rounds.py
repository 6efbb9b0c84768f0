"""Examples in rounds: drafts are tried until there are enough of both splits or none is left."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft import filters
from aiforge.raft.extras import Extras
from aiforge.raft.packs import fingerprint, read_arrow
from aiforge.raft.planning import shards_of
from aiforge.raft.selection import Selection
from aiforge.raft.shards import PAIRS_VERSION, ExampleTask, Shard, example_shard
from aiforge.raft.stages import Mapper, Numbered
from aiforge.schemas.datasets import RaftConfig, StageYield
from aiforge.storage import Storage, build_dir, pairs_dir

# How many more drafts are tried than examples are wanted: some are dropped for what they hold.
_RESERVE = 1.05
_RESERVE_AT_LEAST = 16
_INDEX = "pairs.json"


@dataclass
class Rounds:
    """Tries drafts of a selection in their order, and accounts for them.

    Args:
        blocks: Of the whole corpus.
        clusters: Near-duplicate cluster of each chunk.
        training: Whether training may see the chunk.
        extras: What is known of chunks beside what they say themselves.
        on_made: Called with the number of examples so far.
    """

    storage: Storage
    dataset_id: str
    config: RaftConfig
    tokenizer_json: str
    map: Mapper
    blocks: Sequence[Numbered]
    clusters: NDArray[np.int64]
    training: NDArray[np.bool_]
    selection: Selection
    extras: Extras
    on_made: Callable[[int], None]
    pairs: int = 0
    reused: int = 0
    """Pairs that an earlier build had made."""

    _counts: Counter[bool] = field(default_factory=Counter)
    _accepted: list[int] = field(default_factory=list)
    _dropped: Counter[str] = field(default_factory=Counter)
    _seen: set[int] = field(default_factory=set)
    _shards: list[Shard] = field(default_factory=list)
    _tried: int = 0
    _made: int = 0

    @property
    def train_count(self) -> int:
        """Training examples."""
        return self._counts[False]

    @property
    def validation_count(self) -> int:
        """Validation examples."""
        return self._counts[True]

    def run(self, max_examples: int) -> None:
        """Make up to so many examples."""
        order = {split: self.selection.ordered(split) for split in (True, False)}
        position = {True: 0, False: 0}
        share = round(max_examples * self.config.validation_fraction)
        some = len(order[True]) > 0
        wanted = {True: min(max(1, share), max_examples - 1) if some else 0}
        while True:
            wanted[False] = max_examples - wanted[True]
            batches = {}
            for split in (True, False):
                missing = wanted[split] - self._counts[split]
                size = math.ceil(missing * _RESERVE) + _RESERVE_AT_LEAST if missing > 0 else 0
                start = position[split]
                batches[split] = order[split][start : start + size]
                position[split] += len(batches[split])
            if not len(batches[True]):
                # What validation cannot fill, training may.
                wanted[True] = self.validation_count
            if len(batches[True]) or len(batches[False]):
                self._round(batches, position, wanted)
            elif wanted[False] == max_examples - wanted[True]:
                return

    def rows(self) -> Iterator[pa.Table]:
        """The rows of the examples, shard by shard, in the order in which they were tried."""
        accepted = np.sort(np.array(self._accepted, np.int64))
        for shard in self._shards:
            table = read_arrow(self.storage, shard.rows)
            kept = np.isin(table.column("rank").to_numpy(), accepted)
            yield table.filter(pa.array(kept))

    def reports(self) -> list[StageYield]:
        """The account of the drafts."""
        drafts = self.selection.drafts.num_rows
        unused = drafts - self._tried
        return [
            StageYield(
                stage="selection",
                entered=drafts,
                left=self._tried,
                dropped={"more than maxExamples": unused} if unused else {},
            ),
            StageYield(
                stage="examples",
                entered=self._tried,
                left=self._counts.total(),
                dropped=dict(self._dropped.most_common()),
            ),
        ]

    def remember(self) -> None:
        """Let later builds find the pairs of this one."""
        files: dict[str, list[list[str]]] = {}
        for shard in self._shards:
            for source, path in shard.kept.items():
                first, last = _paths(shard.blocks, source)
                files.setdefault(source, []).append([path, first, last])
        for source, listed in files.items():
            directory = pairs_dir(source, self._key)
            self.storage.write_json(f"{directory}/{_INDEX}", listed)
            names = {path.rpartition("/")[2] for path, _, _ in listed}
            self.storage.delete_stale(directory, {_INDEX, *names})

    @property
    def _key(self) -> str:
        key = fingerprint(self.config, self.tokenizer_json)
        parts = [key, PAIRS_VERSION, self.config.seed, self.config.distractors]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _round(
        self,
        batches: dict[bool, NDArray[np.int64]],
        position: dict[bool, int],
        wanted: dict[bool, int],
    ) -> None:
        shards = self._shard_drafts(batches, position)
        self._shards += shards
        task = ExampleTask(self.storage.uri, self.tokenizer_json, self.config, self.extras)
        tables = []
        for table in self.map(example_shard, shards, task):
            tables.append(table)
            self._made += table.column("dropped").null_count
            self.on_made(min(self._made, sum(wanted.values())))
        outcomes = pa.concat_tables(tables).sort_by("rank")
        self.pairs += outcomes.num_rows
        self.reused += sum(outcomes.column("reused").to_pylist())
        for split in (True, False):
            self._accept(outcomes, split, wanted[split])

    def _accept(self, outcomes: pa.Table, split: bool, wanted: int) -> None:
        """Keep the first examples of a split in the order in which they were tried."""
        columns = ("rank", "validation", "digest", "dropped")
        rows = zip(*(outcomes.column(name).to_pylist() for name in columns), strict=True)
        for rank, validation, digest, dropped in rows:
            if validation is not split or self._counts[split] >= wanted:
                continue
            self._tried += 1
            if dropped or digest in self._seen:
                self._dropped[dropped or "same question and answer"] += 1
            else:
                self._seen.add(digest)
                self._counts[split] += 1
                self._accepted.append(rank)

    def _shard_drafts(
        self, batches: dict[bool, NDArray[np.int64]], position: dict[bool, int]
    ) -> list[Shard]:
        """The shards of the drafts that are tried next."""
        rows, ranks = [], []
        for split, batch in batches.items():
            first = position[split] - len(batch)
            rows.append(batch)
            ranks.append(2 * np.arange(first, first + len(batch)) + (not split))
        table = self.selection.drafts.take(np.concatenate(rows))
        table = table.append_column("rank", pa.array(np.concatenate(ranks))).sort_by("rank")
        chunk = table.column("chunk").to_numpy()
        shards = []
        for blocks in shards_of(self.blocks, len(self.training)):
            start = blocks[0].start
            end = self._end(blocks[-1])
            inside = (chunk >= start) & (chunk < end)
            if inside.any():
                drafts = table.filter(pa.array(inside)).combine_chunks()
                shards.append(self._shard(blocks, start, end, drafts))
        return shards

    def _end(self, last: Numbered) -> int:
        later = (item.start for item in self.blocks if item.start > last.start)
        return next(later, len(self.training))

    def _shard(self, blocks: tuple[Numbered, ...], start: int, end: int, drafts: pa.Table) -> Shard:
        clusters, training = self.clusters[start:end], self.training[start:end]
        sources = dict.fromkeys(item.block.source_id for item in blocks)
        known = tuple(path for source in sources for path in self._known_pairs(source, blocks))
        digest = hashlib.sha256(_describe(drafts))
        for item in blocks:
            digest.update(f"{item.block.pack}\0{item.block.commit}\0".encode())
        digest.update(self.config.model_dump_json().encode() + self._key.encode())
        digest.update(
            repr([(each.name, each.version) for each in filters.EXAMPLE_FILTERS]).encode()
        )
        digest.update(clusters.tobytes() + training.tobytes())
        name = digest.hexdigest()[:32]
        kept = {source: f"{pairs_dir(source, self._key)}/{name}.arrow" for source in sources}
        path = f"{build_dir(self.dataset_id)}/{name}"
        return Shard(blocks, clusters, training, drafts, path, known, kept)

    def _known_pairs(self, source: str, blocks: Sequence[Numbered]) -> list[str]:
        """Files of pairs that earlier builds made of files between those of some blocks."""
        index = f"{pairs_dir(source, self._key)}/{_INDEX}"
        if not self.storage.exists(index):
            return []
        first, last = _paths(blocks, source)
        listed = self.storage.read_json(index)
        return [path for path, low, high in listed if low <= last and high >= first]


def _paths(blocks: Sequence[Numbered], source: str) -> tuple[str, str]:
    """The first and the last path of a source's files in some blocks."""
    own = [item.block for item in blocks if item.block.source_id == source]
    return min(block.first for block in own), max(block.last for block in own)


def _describe(drafts: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, drafts.schema) as writer:
        writer.write_table(drafts)
    return bytes(sink.getvalue())
