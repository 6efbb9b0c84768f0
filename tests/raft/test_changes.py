"""What changed between two snapshots, and examples about nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora import ANIMALS, Write, module

from aiforge.errors import Failure
from aiforge.raft.changes import Changes, examples_of, find_changes, summary
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

CONFIG = RaftConfig()
BEFORE = {f"{name}.py": module(name) for name in ANIMALS[:5]}


def changes(
    write: Write,
    storage: Storage,
    tokenizer_json: str,
    before: dict[str, str],
    after: dict[str, str],
) -> Changes:
    old, new = write(before, revision="r1"), write(after, revision="r2")
    return find_changes(
        storage,
        {"src-1": old.path},
        {"src-1": new.path},
        tokenizer_json=tokenizer_json,
        chunk_tokens=CONFIG.chunk_tokens,
    )


def test_equal_snapshots_have_no_changes(
    write_snapshot: Write, storage: Storage, tokenizer_json: str
) -> None:
    found = changes(write_snapshot, storage, tokenizer_json, BEFORE, BEFORE)

    assert (found.added, found.removed, found.files, found.rows) == (0, 0, [], [])


def test_a_new_file_is_new_in_all_its_chunks(
    write_snapshot: Write, storage: Storage, tokenizer_json: str
) -> None:
    after = BEFORE | {"heron.py": module("heron")}
    found = changes(write_snapshot, storage, tokenizer_json, BEFORE, after)

    (file,) = found.files
    assert (file.path, file.is_new, len(file.spans)) == ("heron.py", True, file.chunks)
    assert found.added == file.chunks > 1
    assert found.removed == 0
    assert 0 < found.share_of(5 * file.chunks) < 0.3


def test_a_changed_function_is_one_new_chunk_and_what_moved_is_none(
    write_snapshot: Write, storage: Storage, tokenizer_json: str
) -> None:
    text = BEFORE["badger.py"]
    moved = text.replace('"""All about', '"""Really all about', 1)
    edited = text.replace("left -= 0.5", "left -= 0.75", 1)

    only_head = changes(
        write_snapshot, storage, tokenizer_json, BEFORE, BEFORE | {"badger.py": moved}
    )
    one_body = changes(
        write_snapshot, storage, tokenizer_json, BEFORE, BEFORE | {"badger.py": edited}
    )

    assert only_head.added == only_head.removed == 1
    assert one_body.added == one_body.removed == 1
    (first, last), *_ = one_body.files[0].spans
    assert "left -= 0.75" in "\n".join(edited.split("\n")[first - 1 : last])


def test_removed_files_and_new_sources_are_counted(
    write_snapshot: Write, storage: Storage, tokenizer_json: str
) -> None:
    after = {path: text for path, text in BEFORE.items() if path != "egret.py"}
    gone = changes(write_snapshot, storage, tokenizer_json, BEFORE, after)
    snapshot = write_snapshot(BEFORE, source_id="src-2")
    added = find_changes(
        storage, {}, {"src-2": snapshot.path}, tokenizer_json=tokenizer_json, chunk_tokens=160
    )

    assert gone.removed_files == ["egret.py"]
    assert gone.removed > 0
    assert len(added.files) == len(BEFORE)
    assert added.share_of(0) == 1.0


def test_examples_ask_about_what_changed_and_nothing_else(
    write_snapshot: Write, storage: Storage, tokenizer_json: str, tmp_path: Path
) -> None:
    edited = BEFORE["badger.py"].replace("left -= 0.5", "left -= 0.75", 1)
    after = BEFORE | {"badger.py": edited, "heron.py": module("heron")}
    found = changes(write_snapshot, storage, tokenizer_json, BEFORE, after)

    rows = examples_of(
        found,
        Storage(str(tmp_path / "scratch")),
        config=CONFIG,
        tokenizer_json=tokenizer_json,
        max_examples=50,
    )

    spans = {(file.path, span) for file in found.files for span in file.spans}
    assert rows
    assert {(row["path"], (row["start_line"], row["end_line"])) for row in rows} <= spans
    assert {row["path"] for row in rows} == {"badger.py", "heron.py"}


def test_changes_about_which_nothing_can_be_asked_are_refused(
    write_snapshot: Write, storage: Storage, tokenizer_json: str, tmp_path: Path
) -> None:
    found = changes(
        write_snapshot, storage, tokenizer_json, BEFORE, BEFORE | {"data.txt": "1\n2\n"}
    )

    with pytest.raises(Failure) as refused:
        examples_of(
            found,
            Storage(str(tmp_path / "scratch")),
            config=CONFIG,
            tokenizer_json=tokenizer_json,
            max_examples=50,
        )
    assert refused.value.code == "dataset_empty"


def test_the_summary_names_files_with_the_most_new_chunks_first(
    write_snapshot: Write, storage: Storage, tokenizer_json: str
) -> None:
    edited = BEFORE["badger.py"].replace("left -= 0.5", "left -= 0.75", 1)
    after = BEFORE | {"badger.py": edited, "heron.py": module("heron")}
    found = changes(write_snapshot, storage, tokenizer_json, BEFORE, after)

    lines = summary(found.files, limit=1).splitlines()

    assert lines[2].startswith("| `heron.py` (new) |")
    assert lines[3] == "| … and 1 more | | |"
