"""A RAFT dataset from snapshots: split, chunk, index, ask, choose distractors, account for all.

The stages that cost time run through a ``Mapper``, so that one plain process and a Ray cluster
do the very same.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aiforge.errors import Failure
from aiforge.raft.distractors import Corpus
from aiforge.raft.drafting import balanced, draft_questions
from aiforge.raft.output import Sink
from aiforge.raft.records import Chunk, Draft
from aiforge.raft.split import FileKey, validation_files
from aiforge.raft.stages import (
    Block,
    ChunkTask,
    ExampleTask,
    Mapper,
    chunk_block,
    example_batch,
)
from aiforge.schemas.datasets import DatasetFormat, RaftConfig, StageYield, YieldReport
from aiforge.storage import Storage, dataset_dir

Progress = Callable[[float, str], None]
"""Called with a fraction from 0 to 1 and the stage; what it raises stops the build."""

_DRAFTS_PER_ITEM = 32
# How many drafts are tried for an example that is wanted: some are dropped for what they hold.
_RESERVE = 1.15


@dataclass(frozen=True)
class SnapshotRef:
    """A snapshot of a source; ``path`` is its directory, relative to the storage."""

    source_id: str
    path: str


@dataclass(frozen=True)
class BuildResult:
    """What a build made; ``quality`` is from 0 to 1."""

    train_count: int
    validation_count: int
    chunk_count: int
    quality: float | None
    report: YieldReport
    preview: list[dict[str, Any]]


@dataclass(frozen=True)
class Build:
    """One build of a dataset.

    Args:
        map: Where the stages run.
    """

    storage: Storage
    dataset_id: str
    snapshots: Sequence[SnapshotRef]
    config: RaftConfig
    max_examples: int
    format: DatasetFormat
    tokenizer_json: str
    map: Mapper
    progress: Progress

    def run(self) -> BuildResult:
        """Build, and write the dataset; nothing of it stays behind where that fails.

        Raises:
            Failure: ``dataset_empty``; the message gives the main reason and the remedy.
        """
        self.storage.delete(dataset_dir(self.dataset_id))
        try:
            return self._run()
        except BaseException:
            self.storage.delete(dataset_dir(self.dataset_id))
            raise

    def _run(self) -> BuildResult:
        self.progress(0.0, "splitting files")
        stages: list[StageYield] = []
        blocks = plan_blocks(self.storage, self.snapshots, self.config, stages)
        chunks, dropped, cleaned = self._chunks(blocks)
        entered = len(chunks) + dropped.total()
        if not chunks:
            reasons = dict(dropped.most_common())
            stages.append(StageYield(stage="chunks", entered=entered, left=0, dropped=reasons))
            raise _empty(stages)
        self.progress(0.5, "indexing chunks")
        corpus = Corpus.of(chunks, self.config.seed)
        useful = int(corpus.useful.sum())
        if useful < len(chunks):
            dropped["too short to be of use"] = len(chunks) - useful
        reasons = dict(dropped.most_common())
        stages.append(StageYield(stage="chunks", entered=entered, left=useful, dropped=reasons))
        self.progress(0.6, "finding questions")
        drafts, asked = draft_questions(chunks, corpus.clusters, self.config.seed)
        stages.append(asked)
        sink = Sink(self.storage, self.dataset_id, self.config, self.format, corpus.clusters)
        self._examples(corpus, drafts, sink)
        stages += sink.stages(len(drafts))
        if not sink.train_count:
            raise _empty(stages)
        report, quality, preview = sink.finish(stages, cleaned)
        return BuildResult(
            sink.train_count, sink.validation_count, len(chunks), quality, report, preview
        )

    def _chunks(self, blocks: Sequence[Block]) -> tuple[list[Chunk], Counter[str], Counter[str]]:
        """Chunks, how many were refused for which reason, and what was taken out of files."""
        total = sum(block.file_count for block in blocks)
        task = ChunkTask(self.storage.uri, self.tokenizer_json, self.config)
        chunks: list[Chunk] = []
        dropped: Counter[str] = Counter()
        cleaned: Counter[str] = Counter()
        paths: set[tuple[str, str]] = set()
        for table in self.map(chunk_block, blocks, task):
            rows = table.to_pylist()
            dropped.update(row["dropped"] for row in rows if row["dropped"])
            for row in rows:
                cleaned.update(json.loads(row["cleaned"] or "{}"))
            fresh = [Chunk.from_row(row) for row in rows if not row["dropped"]]
            chunks += fresh
            paths.update((chunk.source_id, chunk.path) for chunk in fresh)
            self.progress(0.5 * min(1.0, len(paths) / max(total, 1)), "chunking files")
        return chunks, dropped, cleaned

    def _examples(self, corpus: Corpus, drafts: Sequence[Draft], sink: Sink) -> None:
        """Make examples until there are enough of both splits or no draft is left."""
        seed = self.config.seed
        orders = {
            split: balanced([draft for draft in drafts if draft.validation is split], seed)
            for split in (True, False)
        }
        share = round(self.max_examples * self.config.validation_fraction)
        some = any(draft.validation for draft in drafts)
        wanted = {True: min(max(1, share), self.max_examples - 1) if some else 0}
        task = ExampleTask(corpus, self.tokenizer_json, self.config)
        while True:
            wanted[False] = self.max_examples - wanted[True]
            batches = {split: self._next(orders[split], wanted, split, sink) for split in orders}
            if not batches[True]:
                # What validation cannot fill, training may.
                wanted[True] = sink.validation_count
            items = [batch for split in batches for batch in batches[split]]
            if not items and wanted[False] == self.max_examples - wanted[True]:
                return
            self._make(items, task, sink, wanted)

    def _make(
        self, items: list[list[Draft]], task: ExampleTask, sink: Sink, wanted: dict[bool, int]
    ) -> None:
        for table in self.map(example_batch, items, task) if items else ():
            sink.add(table, wanted)
            made = (sink.train_count + sink.validation_count) / self.max_examples
            self.progress(min(0.98, 0.65 + 0.33 * made), "making examples")

    def _next(
        self, order: Iterator[Draft], wanted: dict[bool, int], split: bool, sink: Sink
    ) -> list[list[Draft]]:
        """The drafts to try next for one split, in batches."""
        missing = wanted[split] - sink.count(split)
        if missing <= 0:
            return []
        drafts = list(islice(order, math.ceil(missing * _RESERVE) + 16))
        starts = range(0, len(drafts), _DRAFTS_PER_ITEM)
        return [drafts[start : start + _DRAFTS_PER_ITEM] for start in starts]


def plan_blocks(
    storage: Storage,
    snapshots: Iterable[SnapshotRef],
    config: RaftConfig,
    stages: list[StageYield],
) -> list[Block]:
    """The Parquet files of snapshots, with the split decided; adds the stage ``files``."""
    files: list[tuple[SnapshotRef, str, str, pa.Table]] = []
    skipped: Counter[str] = Counter()
    for snapshot in snapshots:
        manifest = storage.read_json(f"{snapshot.path}/manifest.json")
        skipped.update(manifest["skipped"])
        commit = manifest["commit"] or manifest["revision"]
        for name in manifest["files"]:
            path = f"{snapshot.path}/{name}"
            table = pq.read_table(
                storage.full(path),
                columns=["path", "blob", "language"],
                filesystem=storage.filesystem,
            )
            files.append((snapshot, path, commit, table))
    keys = [
        FileKey(snapshot.source_id, row["path"], row["blob"], row["language"])
        for snapshot, _, _, table in files
        for row in table.to_pylist()
    ]
    held_out = validation_files(keys, config.validation_fraction, config.seed)
    entered = len(keys) + skipped.total()
    dropped = dict(skipped.most_common())
    stages.append(StageYield(stage="files", entered=entered, left=len(keys), dropped=dropped))
    return [
        Block(
            path,
            snapshot.source_id,
            commit,
            frozenset(
                p for p in table.column("path").to_pylist() if (snapshot.source_id, p) in held_out
            ),
            table.num_rows,
        )
        for snapshot, path, commit, table in files
    ]


def _empty(stages: Sequence[StageYield]) -> Failure:
    """The failure of a build without training examples: where they were lost, and what to do."""
    index = next((i for i, stage in enumerate(stages) if not stage.left), len(stages) - 1)
    lost, before = stages[index], stages[max(0, index - 1)]
    reasons = sorted(lost.dropped.items(), key=lambda item: -item[1])
    because = ", ".join(f"{count} × {reason}" for reason, count in reasons[:3])
    if lost.entered:
        detail = f"of {lost.entered} {lost.stage} none was left{f' ({because})' if because else ''}"
    else:
        detail = f"none of the {before.left} {before.stage} gave {lost.stage}"
    return Failure(
        f"No training examples could be made: {detail}. "
        "Choose sources with documented functions or headings, widen their include patterns, "
        "or raise chunkTokens and contextTokens.",
        code="dataset_empty",
        stages=[stage.model_dump() for stage in stages],
    )
