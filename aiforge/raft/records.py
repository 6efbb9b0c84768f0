"""What passes between the stages of a build, as Python objects and as Arrow rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

# A chunk as it is kept between builds: nothing that depends on the rest of the corpus.
CHUNKS = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("language", pa.string()),
        ("license", pa.string()),
        ("blob", pa.string()),
        ("start_line", pa.int32()),
        ("end_line", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("facts", pa.string()),
        ("dropped", pa.string()),
        ("cleaned", pa.string()),
    ]
)

# Questions that a chunk allows: ``kind`` is a place in ``questions.KINDS``, ``key`` is equal where
# the question is. The others are hashes of names whose counts in the corpus decide: of what is
# asked about, of what must occur but once (0 for none), and of the target of a call, in three
# senses.
CANDIDATES = pa.schema(
    [
        ("kind", pa.uint8()),
        ("fact", pa.int32()),
        ("id", pa.string()),
        ("target", pa.string()),
        ("key", pa.uint64()),
        ("qualified", pa.uint64()),
        ("clear", pa.uint64()),
        ("callable", pa.uint64()),
        ("defined", pa.uint64()),
        ("caller", pa.uint64()),
    ]
)

# What is counted, compared, searched and asked of a chunk.
TRAITS = pa.schema(
    [
        ("terms", pa.list_(pa.uint32())),
        ("frequencies", pa.list_(pa.uint8())),
        ("words", pa.int32()),
        ("minima", pa.binary(128)),
        ("bands", pa.binary(64)),
        ("names", pa.list_(pa.uint64())),
        ("callables", pa.list_(pa.uint64())),
        ("candidates", pa.list_(pa.struct(list(CANDIDATES)))),
    ]
)
PACK = pa.schema([*CHUNKS, *TRAITS])

# Candidates as one build sees them; ``order`` is the seeded one.
DRAFTS = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("chunk", pa.int64()),
        ("fact", pa.int32()),
        ("target", pa.string()),
        ("ambiguous", pa.bool_()),
        ("validation", pa.bool_()),
        ("key", pa.uint64()),
        ("order", pa.uint64()),
        ("dropped", pa.string()),
    ]
)

EXAMPLES = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("source_id", pa.string()),
        ("path", pa.string()),
        ("start_line", pa.int32()),
        ("end_line", pa.int32()),
        ("commit", pa.string()),
        ("license", pa.string()),
        ("golden", pa.bool_()),
        ("instruction", pa.string()),
        ("input", pa.string()),
        ("output", pa.string()),
    ]
)

# What a build learns of an example beside its row.
MEASURES = pa.schema(
    [
        ("validation", pa.bool_()),
        ("oracle", pa.int64()),
        ("wanted", pa.int32()),
        ("distractors", pa.int32()),
        ("no_room", pa.int32()),
        ("quotes", pa.int32()),
        ("grounded", pa.int32()),
        ("hardness", pa.float64()),
        ("trivial", pa.bool_()),
        ("valid", pa.bool_()),
        ("minima", pa.binary(128)),
        ("bands", pa.binary(64)),
        ("dropped", pa.string()),
    ]
)
RESULTS = pa.schema([*EXAMPLES, *MEASURES])


@dataclass
class Fact:
    """What a chunk tells of one function, class or section, as far as questions need it.

    ``whole`` says that all of it stands in the chunk; ``code`` is its text in that case.

    Others may add facts of two more kinds. Of a ``change``, a commit that touched the chunk,
    ``name`` is the subject, ``doc`` the diff, ``signature`` the lines before and ``code`` those
    after it. Of a question that was ``asked`` by a teacher, ``name`` is the question, ``doc`` the
    answer in RAFT form and ``parameters`` are its quotes. ``qualified`` names either uniquely.
    """

    kind: str
    name: str
    qualified: str
    doc: str = ""
    signature: str = ""
    parameters: list[str] = field(default_factory=list)
    returns: str = ""
    calls: list[str] = field(default_factory=list)
    nested: bool = False
    whole: bool = False
    code: str = ""


@dataclass
class Chunk:
    """A part of a file, and where it comes from; lines count from 1, both inclusive."""

    id: str
    source_id: str
    path: str
    commit: str
    language: str | None
    license: str | None
    blob: str
    start_line: int
    end_line: int
    text: str
    tokens: int
    validation: bool
    facts: list[Fact] = field(default_factory=list)

    def to_row(self) -> dict[str, Any]:
        """A row of ``CHUNKS``."""
        row = {name: getattr(self, name) for name in _STORED}
        row["facts"] = orjson.dumps(self.facts).decode() if self.facts else None
        return row


_STORED = ("id", "path", "language", "license", "blob", "start_line", "end_line", "text", "tokens")


def chunks_of_table(
    table: pa.Table,
    source_id: str,
    commit: str,
    held_out: Container[str],
    facts_of: Container[int] | None = None,
) -> list[Chunk]:
    """Chunks of rows of ``CHUNKS``.

    Args:
        held_out: Paths that only validation may see.
        facts_of: Rows whose facts are read; all where it is ``None``.
    """
    columns = (table.column(name).to_pylist() for name in _STORED)
    facts = table.column("facts").to_pylist()
    return [
        Chunk(
            id=name,
            source_id=source_id,
            path=path,
            commit=commit,
            language=language,
            license=license,
            blob=blob,
            start_line=start_line,
            end_line=end_line,
            text=text,
            tokens=tokens,
            validation=path in held_out,
            facts=facts_of_json(facts[row]) if facts_of is None or row in facts_of else [],
        )
        for row, (name, path, language, license, blob, start_line, end_line, text, tokens) in (
            enumerate(zip(*columns, strict=True))
        )
    ]


def facts_of_json(stored: str | None) -> list[Fact]:
    """Facts of the column of that name."""
    return [Fact(**fact) for fact in orjson.loads(stored)] if stored else []


@dataclass(frozen=True)
class Draft:
    """A question that could be asked: of which kind, about which fact of which chunk.

    ``target`` names what is called where the question is about a call; ``ambiguous`` says that
    the name alone does not tell which one is meant.
    """

    id: str
    kind: str
    chunk: int
    fact: int
    target: str = ""
    ambiguous: bool = False
    validation: bool = False


def rows_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; keys that a row lacks become null."""
    listed = list(rows)
    try:
        found = list(zip(*map(itemgetter(*schema.names), listed), strict=True))
    except KeyError:
        found = [tuple(row.get(name) for row in listed) for name in schema.names]
    columns = found or [()] * len(schema)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )
