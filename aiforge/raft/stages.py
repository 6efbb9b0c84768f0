"""The stages of a build that are spread over processes: chunking, asking, and making examples.

What a stage makes of an item lies in the storage under a name that follows from the item, written
whole or not at all. So whoever does an item a second time only reads what is there.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiforge.languages import parse
from aiforge.raft import filters
from aiforge.raft.candidates import Row, candidates_of, column_of, flat
from aiforge.raft.chunking import Span, chunk_ids, split_file
from aiforge.raft.dedup import Sketches
from aiforge.raft.drafting import Census, draft_table, names_of
from aiforge.raft.extras import Extras
from aiforge.raft.packs import Block, FileVersion, read_arrow, write_arrow
from aiforge.raft.records import (
    CHUNKS,
    PACK,
    TRAITS,
    Chunk,
    Fact,
    chunks_of_table,
    facts_of_json,
    rows_table,
)
from aiforge.raft.symbols import Symbol, find_symbols
from aiforge.raft.terms import counted
from aiforge.raft.tokens import TokenCounter, token_counter
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

Item = TypeVar("Item")
Shared = TypeVar("Shared")

_SURVEYED = ["path", "words", "minima", "bands", "names", "callables", "dropped", "cleaned"]


class Mapper(Protocol):
    """Applies a function to items, in this process or in others; results come in order."""

    def __call__(
        self,
        function: Callable[[Item, Shared], pa.Table],
        items: Sequence[Item],
        shared: Shared,
        at_once: int = 1,
    ) -> Iterator[pa.Table]:
        """One table of each item; ``at_once`` is how many one process may be given together."""
        ...


def map_here(
    function: Callable[[Item, Shared], pa.Table],
    items: Sequence[Item],
    shared: Shared,
    at_once: int = 1,
) -> Iterator[pa.Table]:
    """The ``Mapper`` of a plain process."""
    for item in items:
        yield function(item, shared)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Spares what runs in it the search for reference cycles, of which it makes none.

    Chunks, facts and rows are so many small objects that the search took a twelfth of a build.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True)
class ChunkTask:
    """What chunking needs beside a block."""

    storage_uri: str
    tokenizer_json: str
    config: RaftConfig


@dataclass(frozen=True)
class DraftTask:
    """What asking needs beside a block."""

    storage_uri: str
    census: Census
    seed: int
    extras: Extras


@dataclass(frozen=True)
class Numbered:
    """A block whose chunks have the numbers from ``start`` on."""

    block: Block
    start: int


@uncollected()
def chunk_block(block: Block, task: ChunkTask) -> pa.Table:
    """Put the chunks of a block into its pack; returns what the whole build must know of them."""
    storage = Storage(task.storage_uri)
    if storage.exists(block.pack):
        return read_arrow(storage, block.pack, _SURVEYED)
    files = pq.read_table(storage.full(block.path), filesystem=storage.filesystem).to_pylist()
    licenses = {file["path"]: file["license"] for file in files}
    kept = {
        version: rows
        for version, rows in _known_rows(storage, block).items()
        if not rows.num_rows or rows.column("license")[0].as_py() == licenses[version[0]]
    }
    fresh = [file for file in files if (file["path"], file["blob"]) not in kept]
    made = _made_rows(fresh, block, task)
    parts = [(kept | made)[file["path"], file["blob"]] for file in files]
    table = pa.concat_tables([PACK.empty_table(), *parts]).combine_chunks()
    write_arrow(storage, block.pack, table)
    return table.select(_SURVEYED)


def _known_rows(storage: Storage, block: Block) -> dict[FileVersion, pa.Table]:
    """Rows of ``PACK`` of those files of a block whose chunks an earlier build made."""
    found = {}
    for pack in sorted(set(block.known.values())):
        if not storage.exists(pack):
            continue
        table = read_arrow(storage, pack)
        ranges = _ranges(table)
        for version, holder in block.known.items():
            if holder == pack:
                start, end = ranges.get(version, (0, 0))
                found[version] = table.slice(start, end - start)
    return found


def _ranges(table: pa.Table) -> dict[FileVersion, tuple[int, int]]:
    """Where the rows of each file begin and end."""
    found: dict[FileVersion, tuple[int, int]] = {}
    versions = zip(*(table.column(name).to_pylist() for name in ("path", "blob")), strict=True)
    for row, version in enumerate(versions):
        found[version] = (found.get(version, (row, 0))[0], row + 1)
    return found


def _made_rows(
    files: Sequence[dict[str, Any]], block: Block, task: ChunkTask
) -> dict[FileVersion, pa.Table]:
    """Rows of ``PACK`` of files that are split now."""
    counter = token_counter(task.tokenizer_json)
    chunks: list[Chunk] = []
    pieces: list[NDArray[np.int32]] = []
    rows: list[dict[str, Any]] = []
    ends = []
    for file in files:
        text, taken = filters.clean(file["content"], task.config)
        fresh = split_chunks(file | {"content": text}, block, counter, task.config.chunk_tokens)
        chunks += [chunk for chunk, _ in fresh]
        pieces += [numbers for _, numbers in fresh]
        rows += [chunk.to_row() for chunk, _ in fresh]
        if fresh and taken:
            rows[-len(fresh)]["cleaned"] = json.dumps(taken)
        ends.append(len(rows))
    reasons = filters.refusals(filters.CHUNK_FILTERS, chunks, task.config)
    for row, reason in zip(rows, reasons, strict=True):
        row["dropped"] = reason
    table = rows_table(rows, CHUNKS)
    for name, column in zip(TRAITS.names, _traits(chunks, *counter.terms(pieces)), strict=True):
        table = table.append_column(TRAITS.field(name), column)
    starts = [0, *ends]
    return {
        (file["path"], file["blob"]): table.slice(start, end - start)
        for file, start, end in zip(files, starts, ends, strict=False)
    }


def _traits(
    chunks: Sequence[Chunk], flat: NDArray[np.uint32], offsets: NDArray[np.int64]
) -> list[pa.Array]:
    """The columns of ``TRAITS`` of chunks with these terms."""
    terms, frequencies, starts = counted(flat, offsets)
    sketches = Sketches.of(flat, offsets)
    names = [names_of(chunk) for chunk in chunks]
    listed = pa.array(starts, pa.int32())
    return [
        pa.ListArray.from_arrays(listed, pa.array(terms)),
        pa.ListArray.from_arrays(listed, pa.array(frequencies)),
        pa.array(np.diff(offsets), pa.int32()),
        _binary(sketches.minima, TRAITS.field("minima").type),
        _binary(sketches.bands, TRAITS.field("bands").type),
        pa.array([each.names for each in names], pa.list_(pa.uint64())),
        pa.array([each.callables for each in names], pa.list_(pa.uint64())),
        column_of(chunks),
    ]


def _binary(rows: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(rows).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, data])


def chunk_file(
    file: Mapping[str, Any], block: Block, counter: TokenCounter, cap: int
) -> list[Chunk]:
    """Chunks of one row of a snapshot."""
    return [chunk for chunk, _ in split_chunks(file, block, counter, cap)]


def split_chunks(
    file: Mapping[str, Any], block: Block, counter: TokenCounter, cap: int
) -> list[tuple[Chunk, NDArray[np.int32]]]:
    """Chunks of one row of a snapshot, each with the numbers of its pieces."""
    text, language = file["content"], file["language"]
    tree = parse(language, text.encode()) if language and language != "markdown" else None
    spans = split_file(text, language, tree, counter, cap)
    facts = _facts_by_span(text, spans, find_symbols(text, language, tree))
    found = []
    for span, name, known in zip(spans, chunk_ids(file["path"], spans), facts, strict=True):
        chunk = Chunk(
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
        if span.text.strip():
            found.append((chunk, span.pieces))
    return found


def usable(table: pa.Table) -> pa.Table:
    """Rows of a pack without those that hygiene refused."""
    dropped = table.column("dropped")
    return table.filter(dropped.is_null()) if dropped.null_count < len(dropped) else table


@uncollected()
def draft_block(item: Numbered, task: DraftTask) -> pa.Table:
    """Rows of ``DRAFTS`` of the chunks of a block."""
    storage, block = Storage(task.storage_uri), item.block
    table = usable(read_arrow(storage, block.pack, ["path", "dropped", "candidates"]))
    more = _extra_candidates(storage, block, task.extras)
    held_out = np.array([path in block.held_out for path in table["path"].to_pylist()], np.bool_)
    candidates = flat(table.column("candidates"), more)
    return draft_table(candidates, held_out, item.start, task.census, task.seed)


def _extra_candidates(
    storage: Storage, block: Block, extras: Extras
) -> Iterator[tuple[int, list[Row]]]:
    """Candidates of what is known beside the chunks of a block, by the row of the chunk."""
    if not extras.concern(block.source_id):
        return
    table = usable(read_arrow(storage, block.pack, CHUNKS.names))
    chunks = chunks_of_table(table, block.source_id, block.commit, block.held_out, ())
    for row, chunk in enumerate(extras.attach(chunks)):
        if chunk.facts:
            own = facts_of_json(table.column("facts")[row].as_py())
            yield row, list(candidates_of(chunk, len(own)))


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
