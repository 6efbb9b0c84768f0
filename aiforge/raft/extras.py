"""What is known of chunks beside what they say: recent changes, a teacher's questions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow.parquet as pq

from aiforge.raft.records import Chunk, Fact
from aiforge.raft.teacher_prompts import Pair
from aiforge.storage import Storage

CHANGES_FILE = "changes.parquet"


@dataclass
class Extras:
    """Facts that are added to those of chunks: by chunk, and by file where the text decides."""

    by_chunk: dict[tuple[str, str], list[Fact]] = field(default_factory=dict)
    """By source and id of the chunk."""

    by_file: dict[tuple[str, str], list[Fact]] = field(default_factory=dict)
    """Changes by source and path; each belongs to the chunk that holds all of its lines."""

    def concern(self, source_id: str) -> bool:
        """Whether anything is known of a source."""
        return any(
            source == source_id for each in (self.by_chunk, self.by_file) for source, _ in each
        )

    def attach(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks with their facts and those that are known beside them."""
        return [
            replace(chunk, facts=[*chunk.facts, *more]) if (more := self._of(chunk)) else chunk
            for chunk in chunks
        ]

    def _of(self, chunk: Chunk) -> list[Fact]:
        found = list(self.by_chunk.get((chunk.source_id, chunk.id), ()))
        changes = self.by_file.get((chunk.source_id, chunk.path))
        if not changes:
            return found
        lines = f"\n{chunk.text}\n"
        return found + [change for change in changes if f"\n{change.code}\n" in lines]


def changes_of(storage: Storage, snapshots: Iterable[tuple[str, str]]) -> Extras:
    """The recent changes of sources, as their snapshots keep them.

    Args:
        snapshots: Source and directory of each.
    """
    extras = Extras()
    for source_id, directory in snapshots:
        path = f"{directory}/{CHANGES_FILE}"
        if not storage.exists(path):
            continue
        rows = pq.read_table(storage.full(path), filesystem=storage.filesystem).to_pylist()
        for row in rows:
            fact = Fact(
                "change",
                name=row["subject"],
                qualified=f"{row['commit']} {row['path']}",
                doc=row["diff"],
                signature=row["before"].strip("\n"),
                code=row["after"].strip("\n"),
                whole=True,
            )
            extras.by_file.setdefault((source_id, row["path"]), []).append(fact)
    return extras


def fact_of(pair: Pair) -> Fact:
    """A teacher's question as a fact of its chunk, named by its content."""
    digest = hashlib.sha256(f"{pair.question}\0{pair.output}".encode()).hexdigest()[:32]
    return Fact(
        "asked", name=pair.question, qualified=digest, doc=pair.output, parameters=[*pair.quotes]
    )
