"""Which questions a corpus allows, and a balanced choice among them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aiforge.raft.questions import KINDS, description_of, is_test, local_kinds
from aiforge.raft.records import Chunk, Draft
from aiforge.schemas.datasets import StageYield


def draft_questions(
    chunks: Sequence[Chunk], clusters: NDArray[np.int64], seed: int
) -> tuple[list[Draft], StageYield]:
    """All questions that may be asked, and how many were left out for which reason.

    Args:
        clusters: Near-duplicate cluster of each chunk.
    """
    names = _Names(chunks)
    dropped: Counter[str] = Counter()
    training = {int(c) for c, chunk in zip(clusters, chunks, strict=True) if not chunk.validation}
    asked: set[tuple[int, str, str, str]] = set()
    drafts: list[Draft] = []
    entered = 0
    for draft in _candidates(chunks, names, seed):
        entered += 1
        chunk = chunks[draft.chunk]
        fact = chunk.facts[draft.fact]
        cluster = int(clusters[draft.chunk])
        key = (cluster, draft.kind, fact.qualified, draft.target)
        if reason := names.unclear(draft, chunk):
            dropped[reason] += 1
        elif chunk.validation and cluster in training:
            dropped["near-duplicate of a training chunk"] += 1
        elif key in asked:
            dropped["near-duplicate of another question"] += 1
        else:
            asked.add(key)
            ambiguous = names.count(fact.qualified) > 1
            drafts.append(replace(draft, ambiguous=ambiguous, validation=chunk.validation))
    report = StageYield(
        stage="questions", entered=entered, left=len(drafts), dropped=dict(dropped.most_common())
    )
    return drafts, report


def balanced(drafts: Sequence[Draft], seed: int) -> Iterator[Draft]:
    """Drafts in a seeded order in which each kind comes as often as it can."""
    by_kind: dict[str, list[Draft]] = defaultdict(list)
    for draft in sorted(drafts, key=lambda draft: _hash(seed, draft.id)):
        by_kind[draft.kind].append(draft)
    queues = [by_kind[kind] for kind in KINDS if by_kind[kind]]
    position = 0
    while queues:
        queues = [queue for queue in queues if len(queue) > position]
        for queue in queues:
            yield queue[position]
        position += 1


class _Names:
    """How often each name is declared, described and called over the whole corpus."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._qualified: Counter[str] = Counter()
        self._at: Counter[tuple[str, str]] = Counter()
        self._descriptions: Counter[str] = Counter()
        self._defined: Counter[str] = Counter()
        self._callable: Counter[str] = Counter()
        self._callers: Counter[str] = Counter()
        for chunk in chunks:
            for fact in chunk.facts:
                self._qualified[fact.qualified] += 1
                self._at[(f"{chunk.source_id}/{chunk.path}", fact.qualified)] += 1
                if fact.doc:
                    self._descriptions[description_of(fact)] += 1
                if fact.kind != "section" and not is_test(chunk.path, fact):
                    self._defined[fact.name] += 1
                    if fact.qualified == fact.name or chunk.language == "java":
                        self._callable[fact.name] += 1
                    self._callers.update(name for name in fact.calls if name != fact.name)

    def count(self, qualified: str) -> int:
        return self._qualified[qualified]

    def is_unique(self, name: str) -> bool:
        """Whether a call of this plain name can mean one definition only."""
        return self._defined[name] == 1 == self._callable[name] and len(name) > 3

    def callers(self, name: str) -> int:
        return self._callers[name]

    def unclear(self, draft: Draft, chunk: Chunk) -> str | None:
        """Why a question would have more than one answer."""
        fact = chunk.facts[draft.fact]
        if draft.kind == "which":
            several = self._descriptions[description_of(fact)] > 1
            return "several have this description" if several else None
        if draft.kind in ("docstring", "signature", "section"):
            several = self._at[(f"{chunk.source_id}/{chunk.path}", fact.qualified)] > 1
            return "several in one file have this name" if several else None
        return None


def _candidates(chunks: Sequence[Chunk], names: _Names, seed: int) -> Iterator[Draft]:
    for index, chunk in enumerate(chunks):
        for position, fact in enumerate(chunk.facts):
            for kind in local_kinds(fact):
                yield _draft(chunk, index, kind, position, "")
            if fact.kind != "function" or not fact.whole:
                continue
            targets = [name for name in fact.calls if names.is_unique(name) and name != fact.name]
            if is_test(chunk.path, fact):
                # The rarest name is what the test is about; the hash settles a tie.
                best = min(targets, key=lambda n: (names.callers(n), _hash(seed, n)), default="")
                if best:
                    yield _draft(chunk, index, "usage", position, best)
            else:
                for name in targets:
                    if names.callers(name) == 1:
                        yield _draft(chunk, index, "caller", position, name)


def _draft(chunk: Chunk, index: int, kind: str, position: int, target: str) -> Draft:
    name = chunk.facts[position].qualified
    key = "\0".join((kind, chunk.source_id, chunk.id, name, str(position), target))
    return Draft(hashlib.sha256(key.encode()).hexdigest()[:20], kind, index, position, target)


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{text}".encode()).digest()
