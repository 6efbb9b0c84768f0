"""Examples of one shard: chunks that stand near one another, a few thousand at most.

Distractors are chosen within the shard. That is the whole corpus for most repositories; where it
is not, the most similar chunk of a distant part is given up for a memory that does not grow with
the corpus, and for shards that are made side by side and redone one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft import filters
from aiforge.raft.distractors import Corpus, Terms, useful
from aiforge.raft.drafting import drafts_of_table
from aiforge.raft.examples import Maker, Pair
from aiforge.raft.extras import Extras
from aiforge.raft.names import hashed
from aiforge.raft.packs import read_arrow, write_arrow
from aiforge.raft.records import RESULTS, Chunk, Draft, chunks_of_table, rows_table
from aiforge.raft.stages import Numbered, uncollected, usable
from aiforge.raft.tokens import token_counter
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

PAIRS_VERSION = 3
"""Raised whenever the same draft would give another question, answer or choice of distractors."""

OUTCOMES = pa.schema(
    [
        ("rank", pa.int64()),
        ("validation", pa.bool_()),
        ("digest", pa.uint64()),
        ("dropped", pa.string()),
        ("reused", pa.bool_()),
    ]
)
"""What became of a draft; ``digest`` is equal for equal questions with equal answers."""

ROWS = pa.schema([("rank", pa.int64()), *RESULTS])

# A pair as it is kept between builds, its distractors by their keys.
PAIRS = pa.schema(
    [
        ("id", pa.string()),
        ("source_id", pa.string()),
        ("ambiguous", pa.bool_()),
        ("question", pa.string()),
        ("output", pa.string()),
        ("quotes", pa.int32()),
        ("grounded", pa.int32()),
        ("needs_golden", pa.bool_()),
        ("tokens", pa.int32()),
        ("distractors", pa.list_(pa.uint64())),
        ("hardness", pa.float64()),
        ("trivial", pa.bool_()),
        ("valid", pa.bool_()),
        ("minima", pa.binary(128)),
        ("bands", pa.binary(64)),
        ("dropped", pa.string()),
    ]
)

_COLUMNS = [
    *("id", "path", "language", "license", "blob", "start_line", "end_line", "text", "tokens"),
    *("facts", "dropped", "terms", "frequencies", "words"),
]


@dataclass(frozen=True)
class Shard:
    """Blocks that follow one another, and the drafts that are tried of them.

    ``clusters`` and ``training`` are of the shard's chunks, ``drafts`` rows of ``DRAFTS`` with
    their ``rank``, ``known`` files of pairs that earlier builds made, ``kept`` where those of each
    source go, ``name`` the path, without an ending, of what is made.
    """

    blocks: tuple[Numbered, ...]
    clusters: NDArray[np.int64]
    training: NDArray[np.bool_]
    drafts: pa.Table
    name: str
    known: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> str:
        """Path of the rows, in the order of their rank."""
        return f"{self.name}.rows.arrow"

    @property
    def outcomes(self) -> str:
        """Path of the outcomes; what is written last."""
        return f"{self.name}.outcomes.arrow"


@dataclass(frozen=True)
class ExampleTask:
    """What making examples needs beside a shard."""

    storage_uri: str
    tokenizer_json: str
    config: RaftConfig
    extras: Extras


@uncollected()
def example_shard(shard: Shard, task: ExampleTask) -> pa.Table:
    """Write the rows and pairs of a shard; returns rows of ``OUTCOMES``."""
    storage = Storage(task.storage_uri)
    if storage.exists(shard.outcomes):
        return read_arrow(storage, shard.outcomes)
    corpus = _corpus(storage, shard, task.extras)
    maker = Maker(corpus, token_counter(task.tokenizer_json), task.config)
    drafts = list(drafts_of_table(shard.drafts, shard.blocks[0].start))
    pairs, reused = _pairs(storage, shard, maker, drafts)
    rows = maker.rows(drafts, pairs)
    made = [row for row in rows if not row["dropped"]]
    for row, reason in zip(
        made, filters.refusals(filters.EXAMPLE_FILTERS, made, task.config), strict=True
    ):
        row["dropped"] = reason
    ranks = shard.drafts.column("rank").to_pylist()
    for row, rank in zip(rows, ranks, strict=True):
        row["rank"] = rank
        row["oracle"] += shard.blocks[0].start
    write_arrow(storage, shard.rows, rows_table((r for r in rows if not r["dropped"]), ROWS))
    outcomes = rows_table(_outcomes(rows, reused), OUTCOMES)
    write_arrow(storage, shard.outcomes, outcomes)
    return outcomes


def _corpus(storage: Storage, shard: Shard, extras: Extras) -> Corpus:
    """The shard's chunks; facts are read of those alone that are asked about."""
    asked = set(shard.drafts.column("chunk").to_pylist())
    chunks: list[Chunk] = []
    tables = []
    for item in shard.blocks:
        block, table = item.block, usable(read_arrow(storage, item.block.pack, _COLUMNS))
        wanted = {number - item.start for number in asked}
        chunks += chunks_of_table(table, block.source_id, block.commit, block.held_out, wanted)
        tables.append(table.select(["terms", "frequencies", "words"]))
    table = pa.concat_tables(tables).combine_chunks()
    words = table.column("words").to_numpy()
    chunks = extras.attach(chunks)
    return Corpus(chunks, shard.clusters, useful(words), shard.training, _terms(table))


def _terms(table: pa.Table) -> Terms:
    terms, frequencies = (
        pa.concat_arrays(table.column(name).chunks or [pa.array([], table.schema.field(name).type)])
        for name in ("terms", "frequencies")
    )
    offsets = np.append(0, np.cumsum(terms.value_lengths().to_numpy()))
    return terms.flatten().to_numpy(), frequencies.flatten().to_numpy(), offsets.astype(np.int64)


def _pairs(
    storage: Storage, shard: Shard, maker: Maker, drafts: Sequence[Draft]
) -> tuple[list[Pair], list[bool]]:
    """A pair of each draft, and whether an earlier build made it; all are kept for later ones."""
    chunks = maker.corpus.chunks
    keys = [hashed(chunk.source_id, chunk.id) for chunk in chunks]
    places = {key: place for place, key in enumerate(keys)}
    known = _known(storage, shard.known, {draft.id for draft in drafts})
    kept = [_still_good(draft, known.get(draft.id), places, maker) for draft in drafts]
    fresh = iter(maker.pairs([d for d, pair in zip(drafts, kept, strict=True) if pair is None]))
    pairs = [pair or next(fresh) for pair in kept]
    rows: dict[str, list[dict[str, Any]]] = {source: [] for source in shard.kept}
    for draft, pair in zip(drafts, pairs, strict=True):
        source = chunks[draft.chunk].source_id
        rows[source].append(
            vars(pair)
            | {"id": draft.id, "source_id": source, "ambiguous": draft.ambiguous}
            | {"distractors": [keys[place] for place in pair.distractors]}
        )
    for source, path in shard.kept.items():
        write_arrow(storage, path, rows_table(rows[source], PAIRS))
    return pairs, [pair is not None for pair in kept]


def _known(storage: Storage, paths: Sequence[str], wanted: set[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for path in paths:
        if storage.exists(path):
            for row in read_arrow(storage, path).to_pylist():
                if row["id"] in wanted:
                    found[row["id"]] = row
    return found


def _still_good(
    draft: Draft, row: Mapping[str, Any] | None, places: Mapping[int, int], maker: Maker
) -> Pair | None:
    """The pair of an earlier build, where its question and its distractors still hold."""
    if row is None or row["ambiguous"] != draft.ambiguous:
        return None
    chosen = [places.get(key, -1) for key in row["distractors"]]
    if row["dropped"] is None:
        if len(chosen) < maker.config.distractors or -1 in chosen:
            return None
        if not maker.corpus.may_show(draft.chunk, chosen):
            return None
    own = {name: row[name] for name in Pair.__dataclass_fields__}
    return Pair(**own | {"distractors": chosen})


def _outcomes(
    rows: Sequence[Mapping[str, Any]], reused: Sequence[bool]
) -> Iterator[dict[str, Any]]:
    for row, again in zip(rows, reused, strict=True):
        digest = 0 if row["dropped"] else hashed(row["instruction"], row["output"])
        yield {
            "rank": row["rank"],
            "validation": row["validation"],
            "digest": digest,
            "dropped": row["dropped"],
            "reused": again,
        }
