"""The two stages of a build that are spread over processes: chunking and making examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from aiforge.languages import parse
from aiforge.raft import filters
from aiforge.raft.chunking import Span, chunk_ids, split_file
from aiforge.raft.distractors import Corpus
from aiforge.raft.examples import Maker
from aiforge.raft.records import CHUNKS, RESULTS, Chunk, Draft, Fact, rows_table
from aiforge.raft.symbols import Symbol, find_symbols
from aiforge.raft.tokens import TokenCounter, token_counter
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

Item = TypeVar("Item")
Shared = TypeVar("Shared")


class Mapper(Protocol):
    """Applies a function to items, in this process or in others; results come in order."""

    def __call__(
        self,
        function: Callable[[Item, Shared], pa.Table],
        items: Sequence[Item],
        shared: Shared,
    ) -> Iterator[pa.Table]:
        """Tables of all items; one may hold the rows of several items."""
        ...


def map_here(
    function: Callable[[Item, Shared], pa.Table], items: Sequence[Item], shared: Shared
) -> Iterator[pa.Table]:
    """The ``Mapper`` of a plain process."""
    for item in items:
        yield function(item, shared)


@dataclass(frozen=True)
class Block:
    """One Parquet file of a snapshot, and which of its files only validation may see."""

    path: str
    source_id: str
    commit: str
    held_out: frozenset[str]
    file_count: int


@dataclass(frozen=True)
class ChunkTask:
    """What chunking needs beside a block."""

    storage_uri: str
    tokenizer_json: str
    config: RaftConfig


@dataclass(frozen=True)
class ExampleTask:
    """What making examples needs beside drafts."""

    corpus: Corpus
    tokenizer_json: str
    config: RaftConfig


def chunk_block(block: Block, task: ChunkTask) -> pa.Table:
    """Chunks of the files of a block, with what each of them tells."""
    storage = Storage(task.storage_uri)
    table = pq.read_table(storage.full(block.path), filesystem=storage.filesystem)
    counter = token_counter(task.tokenizer_json)
    rows: list[dict[str, Any]] = []
    for file in table.to_pylist():
        text, taken = filters.clean(file["content"], task.config)
        chunks = chunk_file(file | {"content": text}, block, counter, task.config.chunk_tokens)
        reasons = filters.refusals(filters.CHUNK_FILTERS, chunks, task.config)
        fresh = [
            chunk.to_row() | {"dropped": reason}
            for chunk, reason in zip(chunks, reasons, strict=True)
        ]
        if fresh and taken:
            fresh[0]["cleaned"] = json.dumps(taken)
        rows += fresh
    return rows_table(rows, CHUNKS)


def chunk_file(file: dict[str, Any], block: Block, counter: TokenCounter, cap: int) -> list[Chunk]:
    """Chunks of one row of a snapshot."""
    text, language = file["content"], file["language"]
    tree = parse(language, text.encode()) if language and language != "markdown" else None
    spans = split_file(text, language, tree, counter, cap)
    facts = _facts_by_span(text, spans, find_symbols(text, language, tree))
    return [
        Chunk(
            id=name,
            source_id=block.source_id,
            path=file["path"],
            commit=block.commit,
            language=language,
            license=file["license"],
            blob=file["blob"],
            start_line=span.start_line,
            end_line=span.end_line,
            text=span.text,
            tokens=span.tokens,
            validation=file["path"] in block.held_out,
            facts=known,
        )
        for span, name, known in zip(spans, chunk_ids(file["path"], spans), facts, strict=True)
        if span.text.strip()
    ]


def example_batch(drafts: Sequence[Draft], task: ExampleTask) -> pa.Table:
    """Examples of drafts, and for the others why there is none."""
    maker = Maker(task.corpus, token_counter(task.tokenizer_json), task.config)
    rows = [maker.make(draft) for draft in drafts]
    made = [row for row in rows if not row.get("dropped")]
    for row, reason in zip(
        made, filters.refusals(filters.EXAMPLE_FILTERS, made, task.config), strict=True
    ):
        row["dropped"] = reason
    return rows_table(rows, RESULTS)


def _facts_by_span(text: str, spans: Sequence[Span], symbols: Sequence[Symbol]) -> list[list[Fact]]:
    """What each span tells: a symbol belongs to the span that holds its head and documentation."""
    data = text.encode()
    found: list[list[Fact]] = [[] for _ in spans]
    position = 0
    for symbol in symbols:
        while position < len(spans) - 1 and spans[position].end <= symbol.head_start:
            position += 1
        span = spans[position]
        if not span.start <= symbol.head_start < symbol.head_end <= span.end:
            continue
        whole = symbol.kind != "section" and span.start <= symbol.start and symbol.end <= span.end
        code = data[_line_start(data, symbol.head_start) : symbol.end].decode(errors="replace")
        documented = symbol.kind == "section" or symbol.doc_end <= span.end
        found[position].append(
            Fact(
                kind=symbol.kind,
                name=symbol.name,
                qualified=symbol.qualified,
                doc=symbol.doc if documented else "",
                signature=symbol.signature,
                parameters=symbol.parameters,
                returns=symbol.returns,
                calls=symbol.calls,
                nested=symbol.nested,
                whole=whole,
                code=code if whole and symbol.kind == "function" else "",
            )
        )
    return found


def _line_start(data: bytes, position: int) -> int:
    return data.rfind(b"\n", 0, position) + 1
