"""Which questions a corpus allows, and a balanced choice among them.

What a question needs to know of the whole corpus are counts of names: each chunk says which it
holds, a build adds them up, and every block of chunks asks with the sums in hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft.names import Names, hashed, sensed
from aiforge.raft.questions import description_of, is_test, local_kinds
from aiforge.raft.records import DRAFTS, Chunk, Draft
from aiforge.raft.selection import balanced_order, select
from aiforge.schemas.datasets import StageYield


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
        names.append(_at(chunk, fact.qualified))
        if fact.doc:
            names.append(hashed("description", description_of(fact)))
        if fact.kind != "section" and not is_test(chunk.path, fact):
            names.append(sensed("defined", fact.name))
            if fact.qualified == fact.name or chunk.language == "java":
                found.callables.append(sensed("callable", fact.name))
            names += [sensed("caller", name) for name in fact.calls if name != fact.name]
    return found


def _at(chunk: Chunk, qualified: str) -> int:
    return hashed("at", chunk.source_id, chunk.path, qualified)


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

    def local(self, chunks: Sequence[Chunk], held: NDArray[np.uint64]) -> Counts:
        """The part of it that some chunks ask for.

        Args:
            held: The names that they hold.
        """
        facts = [fact for chunk in chunks for fact in chunk.facts]
        called = {name for fact in facts for name in fact.calls}
        callables = self.callables.within(_array(sensed("callable", name) for name in called))
        asked = _array(sensed(sense, name) for name in called for sense in ("defined", "caller"))
        return Counts(self.names.within(np.concatenate([held, asked])), callables)


@dataclass(frozen=True)
class Counts:
    """Counts above 1 of names that occur, and all counts of what can be called."""

    names: dict[int, int]
    callables: dict[int, int]

    def count(self, sense: str, name: str) -> int:
        """How often a name occurs in a sense."""
        return self.names.get(sensed(sense, name), 1)

    def is_unique(self, name: str) -> bool:
        """Whether a call of this plain name can mean one definition only."""
        if len(name) <= 3 or self.callables.get(sensed("callable", name), 0) != 1:
            return False
        return self.count("defined", name) == 1

    def unclear(self, draft: Draft, chunk: Chunk) -> str | None:
        """Why a question would have more than one answer."""
        fact = chunk.facts[draft.fact]
        if draft.kind == "which":
            several = self.count("description", description_of(fact)) > 1
            return "several have this description" if several else None
        if draft.kind in ("docstring", "signature", "section"):
            several = self.names.get(_at(chunk, fact.qualified), 1) > 1
            return "several in one file have this name" if several else None
        return None


def draft_table(chunks: Sequence[Chunk], start: int, counts: Counts, seed: int) -> pa.Table:
    """Rows of ``DRAFTS`` for chunks that follow one another in the corpus.

    Args:
        start: Number of the first one in the corpus.
        counts: Of the names that they ask for.
    """
    rows = []
    for draft in _candidates(chunks, counts, seed):
        chunk = chunks[draft.chunk]
        fact = chunk.facts[draft.fact]
        row = (
            draft.id,
            draft.kind,
            start + draft.chunk,
            draft.fact,
            draft.target,
            counts.count("qualified", fact.qualified) > 1,
            chunk.validation,
            hashed(draft.kind, fact.qualified, draft.target),
            hashed(str(seed), draft.id),
            counts.unclear(draft, chunk),
        )
        rows.append(row)
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in DRAFTS]
    return pa.table(columns, schema=DRAFTS)


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
    counts = Census.of([names], [callables]).local(chunks, names)
    training = np.array([not chunk.validation for chunk in chunks], dtype=np.bool_)
    selection = select([draft_table(chunks, 0, counts, seed)], clusters, training)
    return list(drafts_of_table(selection.drafts)), selection.report


def _array(hashes: Iterable[int]) -> NDArray[np.uint64]:
    return np.fromiter(hashes, np.uint64)


def balanced(drafts: Sequence[Draft], seed: int) -> Iterator[Draft]:
    """Drafts in a seeded order in which each kind comes as often as it can."""
    order = np.array([hashed(str(seed), draft.id) for draft in drafts], dtype=np.uint64)
    for index in balanced_order(np.array([draft.kind for draft in drafts]), order):
        yield drafts[index]


def _candidates(chunks: Sequence[Chunk], counts: Counts, seed: int) -> Iterator[Draft]:
    for index, chunk in enumerate(chunks):
        for position, fact in enumerate(chunk.facts):
            for kind in local_kinds(fact):
                yield _draft(chunk, index, kind, position, "")
            if fact.kind != "function" or not fact.whole:
                continue
            targets = [name for name in fact.calls if counts.is_unique(name) and name != fact.name]
            if is_test(chunk.path, fact):
                # The rarest name is what the test is about; the hash settles a tie.
                best = min(
                    targets,
                    key=lambda n: (counts.count("caller", n), hashed(str(seed), n)),
                    default="",
                )
                if best:
                    yield _draft(chunk, index, "usage", position, best)
            else:
                for name in targets:
                    if counts.count("caller", name) == 1:
                        yield _draft(chunk, index, "caller", position, name)


def _draft(chunk: Chunk, index: int, kind: str, position: int, target: str) -> Draft:
    name = chunk.facts[position].qualified
    key = "\0".join((kind, chunk.source_id, chunk.id, name, str(position), target))
    return Draft(hashlib.sha256(key.encode()).hexdigest()[:20], kind, index, position, target)
