"""Questions that a chunk allows by itself, and what must be asked of the rest of the corpus.

They are found once, where a chunk is made, and kept with it: what remains for a build is to look
up counts of names in arrays, so that the questions of unchanged files cost next to nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft.names import hashed, sensed
from aiforge.raft.questions import KINDS, description_of, is_test, local_kinds
from aiforge.raft.records import CANDIDATES, Chunk, Fact

_KIND = {kind: place for place, kind in enumerate(KINDS)}
_LEAST_NAME = 4  # characters of a name that is not taken for one of several of the kind of `run`
_NAMED = frozenset({"docstring", "signature", "section"})

Row = tuple[int, int, str, str, int, int, int, int, int, int]
"""A row of ``CANDIDATES``."""


def at(chunk: Chunk, qualified: str) -> int:
    """The hash of a name in its file."""
    return hashed("at", chunk.source_id, chunk.path, qualified)


def candidates_of(chunk: Chunk, first: int = 0) -> Iterator[Row]:
    """Candidates of a chunk in the order of its facts.

    Args:
        first: Number of its first fact.
    """
    for position, fact in enumerate(chunk.facts, first):
        name = sensed("qualified", fact.qualified)
        for kind in local_kinds(fact):
            yield (
                *_asked(chunk, fact, position, kind, ""),
                name,
                _clear(chunk, fact, kind),
                0,
                0,
                0,
            )
        if fact.kind != "function" or not fact.whole:
            continue
        kind = "usage" if is_test(chunk.path, fact) else "caller"
        for target in fact.calls:
            if len(target) >= _LEAST_NAME and target != fact.name:
                senses = (sensed(sense, target) for sense in ("callable", "defined", "caller"))
                yield (*_asked(chunk, fact, position, kind, target), name, 0, *senses)  # type: ignore[misc]


def _asked(
    chunk: Chunk, fact: Fact, position: int, kind: str, target: str
) -> tuple[int, int, str, str, int]:
    key = "\0".join((kind, chunk.source_id, chunk.id, fact.qualified, str(position), target))
    name = hashlib.sha256(key.encode()).hexdigest()[:20]
    return _KIND[kind], position, name, target, hashed(kind, fact.qualified, target)


def _clear(chunk: Chunk, fact: Fact, kind: str) -> int:
    """The hash that must occur but once, or the question has more than one answer; 0 for none."""
    if kind == "which":
        return hashed("description", description_of(fact))
    return at(chunk, fact.qualified) if kind in _NAMED else 0


def column_of(chunks: Sequence[Chunk]) -> pa.Array:
    """The candidates of chunks as one column of lists."""
    offsets = [0]
    rows: list[Row] = []
    for chunk in chunks:
        rows += candidates_of(chunk)
        offsets.append(len(rows))
    table = _table(rows)
    values = pa.StructArray.from_arrays(
        [column.combine_chunks() for column in table.columns], fields=list(CANDIDATES)
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in CANDIDATES]
    return pa.table(columns, schema=CANDIDATES)


def flat(
    column: pa.ChunkedArray, more: Iterable[tuple[int, Sequence[Row]]] = ()
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Candidates of the column that ``column_of`` gives, and in which of its rows each stands.

    Args:
        more: Further candidates by the row to whose end they belong.
    """
    parts = [pa.Table.from_struct_array(part.flatten()) for part in column.chunks]
    table = pa.concat_tables([CANDIDATES.empty_table(), *parts])
    lengths = [part.value_lengths().to_numpy(zero_copy_only=False) for part in column.chunks]
    sizes = np.concatenate([np.zeros(0, np.int64), *lengths])
    holders = np.repeat(np.arange(len(sizes)), sizes)
    added = [(row, candidate) for row, candidates in more for candidate in candidates]
    if added:
        table = pa.concat_tables([table, _table([candidate for _, candidate in added])])
        holders = np.append(holders, [row for row, _ in added])
        order = np.argsort(holders, kind="stable")
        table, holders = table.take(order), holders[order]
    return table, holders
