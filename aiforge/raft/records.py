"""What passes between the stages of a build, as Python objects and as Arrow rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

CHUNKS = pa.schema(
    [
        ("id", pa.string()),
        ("source_id", pa.string()),
        ("path", pa.string()),
        ("commit", pa.string()),
        ("language", pa.string()),
        ("license", pa.string()),
        ("blob", pa.string()),
        ("start_line", pa.int32()),
        ("end_line", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("validation", pa.bool_()),
        ("facts", pa.string()),
        ("dropped", pa.string()),
        ("cleaned", pa.string()),
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
        ("dropped", pa.string()),
    ]
)
RESULTS = pa.schema([*EXAMPLES, *MEASURES])


@dataclass
class Fact:
    """What a chunk tells of one function, class or section, as far as questions need it.

    ``whole`` says that all of it stands in the chunk; ``code`` is its text in that case.
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

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Chunk:
        """A chunk of a row of ``CHUNKS``."""
        known = {item.name: row[item.name] for item in fields(cls) if item.name != "facts"}
        return cls(**known, facts=[Fact(**fact) for fact in json.loads(row["facts"])])

    def to_row(self) -> dict[str, Any]:
        """A row of ``CHUNKS``."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "facts": json.dumps([vars(fact) for fact in self.facts]),
            "dropped": None,
        }


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
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
