"""What changed between two snapshots, as chunks, and examples that ask about nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aiforge.languages import parse
from aiforge.raft.build import Build, SnapshotRef
from aiforge.raft.chunking import chunk_ids, split_file
from aiforge.raft.stages import map_here
from aiforge.raft.tokens import TokenCounter, token_counter
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage, dataset_dir

_EXAMPLES = "changes"
_SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class ChangedFile:
    """A file that is new or different, with its new chunks as spans of lines, both inclusive."""

    source_id: str
    path: str
    is_new: bool
    spans: list[tuple[int, int]]
    chunks: int


@dataclass
class Changes:
    """What lies between two states of some sources.

    ``added`` and ``removed`` count chunks; ``rows`` are the changed files as snapshots hold them.
    """

    files: list[ChangedFile] = field(default_factory=list)
    removed_files: list[str] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def share_of(self, chunks_before: int) -> float:
        """Share of today's chunks that are new, given how many there were."""
        now = chunks_before - self.removed + self.added
        return self.added / now if now > 0 else 1.0


def find_changes(
    storage: Storage,
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    tokenizer_json: str,
    chunk_tokens: int,
) -> Changes:
    """The chunks that stand in ``after`` and not in ``before``.

    Args:
        before: Snapshot directories by source, relative to the storage; a source may be missing.
        after: The same, newer.
        chunk_tokens: Cap of a chunk, in tokens of ``tokenizer_json``.
    """
    counter = token_counter(tokenizer_json)
    changes = Changes()
    for source_id, snapshot in after.items():
        old = _files(storage, before[source_id]) if source_id in before else {}
        new = _files(storage, snapshot)
        paths = {path for path, row in new.items() if old.get(path, row)["blob"] != row["blob"]}
        paths |= new.keys() - old.keys()
        gone = old.keys() - new.keys()
        texts = {
            "old": _contents(storage, before.get(source_id), (paths & old.keys()) | gone),
            "new": _contents(storage, snapshot, paths),
        }
        for path in sorted(paths):
            _compare(changes, counter, chunk_tokens, source_id, path, texts)
        for path in sorted(gone):
            changes.removed += len(_chunks(texts["old"][path], counter, chunk_tokens))
            changes.removed_files.append(path)
    return changes


def _compare(
    changes: Changes,
    counter: TokenCounter,
    cap: int,
    source_id: str,
    path: str,
    texts: Mapping[str, Mapping[str, dict[str, Any]]],
) -> None:
    row = texts["new"][path]
    known = _chunks(texts["old"][path], counter, cap) if path in texts["old"] else {}
    found = _chunks(row, counter, cap)
    fresh = [span for name, span in found.items() if name not in known]
    changes.removed += len(known.keys() - found.keys())
    if fresh:
        changes.added += len(fresh)
        changes.files.append(ChangedFile(source_id, path, not known, fresh, len(found)))
        changes.rows.append(row)


def _chunks(row: Mapping[str, Any], counter: TokenCounter, cap: int) -> dict[str, tuple[int, int]]:
    text, language = row["content"], row["language"]
    tree = parse(language, text.encode()) if language and language != "markdown" else None
    spans = [s for s in split_file(text, language, tree, counter, cap) if s.text.strip()]
    names = chunk_ids(row["path"], spans)
    return {n: (s.start_line, s.end_line) for n, s in zip(names, spans, strict=True)}


def _tables(storage: Storage, snapshot: str, columns: list[str] | None) -> list[pa.Table]:
    manifest = storage.read_json(f"{snapshot}/manifest.json")
    return [
        pq.read_table(
            storage.full(f"{snapshot}/{name}"), columns=columns, filesystem=storage.filesystem
        )
        for name in manifest["files"]
    ]


def _files(storage: Storage, snapshot: str) -> dict[str, dict[str, Any]]:
    tables = _tables(storage, snapshot, ["path", "blob"])
    return {row["path"]: row for table in tables for row in table.to_pylist()}


def _contents(storage: Storage, snapshot: str | None, paths: set[str]) -> dict[str, dict[str, Any]]:
    if snapshot is None or not paths:
        return {}
    wanted = pa.array(sorted(paths))
    found: dict[str, dict[str, Any]] = {}
    for table in _tables(storage, snapshot, None):
        chosen = table.filter(pa.compute.is_in(table["path"], value_set=wanted))
        found |= {row["path"]: row for row in chosen.to_pylist()}
    return found


def examples_of(
    changes: Changes,
    workspace: Storage,
    *,
    config: RaftConfig,
    tokenizer_json: str,
    max_examples: int,
) -> list[dict[str, Any]]:
    """Examples whose golden chunk changed, as dataset rows.

    They are made as a dataset of the changed files alone would be, with nothing held out; those
    about chunks that did not change are dropped.

    Args:
        workspace: Scratch space, emptied by the caller.
        max_examples: Most rows that are returned.

    Raises:
        Failure: No question can be asked about what changed (``dataset_empty``).
    """
    pq.write_table(
        pa.Table.from_pylist(changes.rows), _local(workspace, f"{_SNAPSHOT}/files.parquet")
    )
    manifest: dict[str, Any] = {
        "files": ["files.parquet"],
        "skipped": {},
        "commit": None,
        "revision": _SNAPSHOT,
    }
    workspace.write_bytes(f"{_SNAPSHOT}/manifest.json", json.dumps(manifest).encode())
    build = Build(
        storage=workspace,
        dataset_id=_EXAMPLES,
        snapshots=[SnapshotRef(source_id=_SNAPSHOT, path=_SNAPSHOT)],
        config=config.model_copy(update={"validation_fraction": 0.0}),
        max_examples=max_examples * 4,
        format="alpaca",
        tokenizer_json=tokenizer_json,
        map=map_here,
        progress=lambda fraction, stage, made: None,
    )
    build.run()
    spans = {(file.path, span) for file in changes.files for span in file.spans}
    directory = f"{dataset_dir(_EXAMPLES)}/train"
    rows = [
        row
        for name in workspace.names(directory)
        for row in pq.read_table(workspace.full(f"{directory}/{name}")).to_pylist()
        if (row["path"], (row["start_line"], row["end_line"])) in spans
    ]
    return rows[:max_examples]


def _local(workspace: Storage, path: str) -> str:
    workspace.write_bytes(path, b"")
    return workspace.full(path)


def summary(files: Sequence[ChangedFile], limit: int = 50) -> str:
    """A Markdown table of what changed, the files with the most new chunks first."""
    ordered = sorted(files, key=lambda file: (-len(file.spans), file.path))
    lines = ["| file | new chunks | of |", "|---|---:|---:|"]
    lines += [
        f"| `{file.path.replace('|', chr(92) + '|')}`{' (new)' if file.is_new else ''} "
        f"| {len(file.spans)} | {file.chunks} |"
        for file in ordered[:limit]
    ]
    if len(ordered) > limit:
        lines.append(f"| … and {len(ordered) - limit} more | | |")
    return "\n".join(lines) + "\n"
