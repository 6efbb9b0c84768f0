"""Which questions a corpus allows, and a balanced choice among them.

What a question needs to know of the whole corpus are counts of names: each chunk says which it
holds, a build adds them up, and looks up those that its candidates ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft.candidates import at, column_of, flat
from aiforge.raft.names import Names, hashed, sensed
from aiforge.raft.questions import KINDS, description_of, is_test
from aiforge.raft.records import DRAFTS, Chunk, Draft
from aiforge.raft.selection import balanced_order, select
from aiforge.schemas.datasets import StageYield

_REASONS = (None, "several have this description", "several in one file have this name")
_WHICH, _USAGE, _CALLER = (KINDS.index(kind) for kind in ("which", "usage", "caller"))


@dataclass(frozen=True)
class NamesOfChunk:
    """Hashes of names, each with its sense; ``callables`` are those that a plain call can mean."""

    names: list[int]
    callables: list[int]


def names_of(chunk: Chunk) -> NamesOfChunk:
    """The names that a chunk declares, describes and calls."""
    found = NamesOfChunk([], [])
    names = found.names
    for fact in chunk.facts:
        names.append(sensed("qualified", fact.qualified))
        names.append(at(chunk, fact.qualified))
        if fact.doc:
            names.append(hashed("description", description_of(fact)))
        if fact.kind != "section" and not is_test(chunk.path, fact):
            names.append(sensed("defined", fact.name))
            if fact.qualified == fact.name or chunk.language == "java":
                found.callables.append(sensed("callable", fact.name))
            names += [sensed("caller", name) for name in fact.calls if name != fact.name]
    return found


@dataclass(frozen=True)
class Census:
    """How often each name stands in the whole corpus."""

    names: Names
    callables: Names

    @classmethod
    def of(
        cls, names: Sequence[NDArray[np.uint64]], callables: Sequence[NDArray[np.uint64]]
    ) -> Census:
        """Add up the names of all chunks."""
        return cls(Names.of(names, least=2), Names.of(callables, least=1))


def draft_table(
    candidates: tuple[pa.Table, NDArray[np.int64]],
    held_out: NDArray[np.bool_],
    start: int,
    census: Census,
    seed: int,
) -> pa.Table:
    """Rows of ``DRAFTS`` for chunks that follow one another in the corpus.

    Args:
        candidates: Of the chunks, as ``candidates.flat`` gives them.
        held_out: Which of the chunks only validation may see.
        start: Number of the first one in the corpus.
    """
    table, holders = candidates
    kept = _kept(table, holders, census, seed)
    table, holders = table.take(kept), holders[kept]
    kinds, qualified, clear = (_numpy(table, name) for name in ("kind", "qualified", "clear"))
    several = (clear != 0) & (census.names.of_each(clear, 1) > 1)
    reasons = np.where(several, np.where(kinds == _WHICH, 1, 2), 0)
    order = [hashed(str(seed), name) for name in table.column("id").to_pylist()]
    columns = {
        "kind": pa.array(KINDS).take(pa.array(kinds)),
        "chunk": pa.array(start + holders),
        "ambiguous": pa.array(census.names.of_each(qualified, 1) > 1),
        "validation": pa.array(held_out[holders]),
        "order": pa.array(order, pa.uint64()),
        "dropped": pa.array(_REASONS, pa.string()).take(pa.array(reasons)),
    }
    return pa.table(
        [columns[name] if name in columns else table.column(name) for name in DRAFTS.names],
        schema=DRAFTS,
    )


def _kept(
    table: pa.Table, holders: NDArray[np.int64], census: Census, seed: int
) -> NDArray[np.int64]:
    """Which candidates can be asked; a call must mean one definition only."""
    kinds, facts = _numpy(table, "kind"), _numpy(table, "fact")
    calls = (kinds == _USAGE) | (kinds == _CALLER)
    kept = ~calls
    unique = calls & (census.callables.of_each(_numpy(table, "callable"), 0) == 1)
    unique &= census.names.of_each(_numpy(table, "defined"), 1) == 1
    callers = census.names.of_each(_numpy(table, "caller"), 1)
    kept |= unique & (kinds == _CALLER) & (callers == 1)
    usages = np.flatnonzero(unique & (kinds == _USAGE))
    targets = table.column("target").take(usages).to_pylist()
    # The rarest name is what a test is about; the hash settles a tie.
    tie = np.fromiter((hashed(str(seed), name) for name in targets), np.uint64, len(targets))
    order = usages[np.lexsort((tie, callers[usages], facts[usages], holders[usages]))]
    first = np.append(True, np.diff(holders[order]) | np.diff(facts[order])).astype(np.bool_)
    kept[order[first[: len(order)]]] = True
    return np.flatnonzero(kept)


def _numpy(table: pa.Table, name: str) -> NDArray[Any]:
    return table.column(name).to_numpy()  # type: ignore[no-any-return]


def drafts_of_table(table: pa.Table, start: int = 0) -> Iterator[Draft]:
    """Drafts of rows of ``DRAFTS``, their chunks numbered from ``start`` of the corpus on."""
    names = ("id", "kind", "chunk", "fact", "target", "ambiguous", "validation")
    for id_, kind, chunk, *rest in zip(*(table[name].to_pylist() for name in names), strict=True):
        yield Draft(id_, kind, chunk - start, *rest)


def draft_questions(
    chunks: Sequence[Chunk], clusters: NDArray[np.int64], seed: int
) -> tuple[list[Draft], StageYield]:
    """All questions that may be asked of a small corpus, and why the others were left out.

    Args:
        clusters: Near-duplicate cluster of each chunk.
    """
    found = [names_of(chunk) for chunk in chunks]
    names = _array(chain.from_iterable(each.names for each in found))
    callables = _array(chain.from_iterable(each.callables for each in found))
    census = Census.of([names], [callables])
    held_out = np.array([chunk.validation for chunk in chunks], np.bool_)
    candidates = flat(pa.chunked_array([column_of(chunks)]))
    drafts = draft_table(candidates, held_out, 0, census, seed)
    selection = select([drafts], clusters, ~held_out)
    return list(drafts_of_table(selection.drafts)), selection.report


def _array(hashes: Iterable[int]) -> NDArray[np.uint64]:
    return np.fromiter(hashes, np.uint64)


def balanced(drafts: Sequence[Draft], seed: int) -> Iterator[Draft]:
    """Drafts in a seeded order in which each kind comes as often as it can."""
    order = np.array([hashed(str(seed), draft.id) for draft in drafts], dtype=np.uint64)
    for index in balanced_order(np.array([draft.kind for draft in drafts]), order):
        yield drafts[index]
