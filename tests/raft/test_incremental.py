"""Builds that stand on earlier ones: of later commits, of the same ones, and after a kill."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from corpora import Run, Write, build_until_killed, corpus_files, module, rows_of

from aiforge.raft import packs
from aiforge.raft.answers import parse_answer
from aiforge.raft.build import Build, SnapshotRef
from aiforge.raft.stages import map_here
from aiforge.raft.wording import normalise
from aiforge.schemas.datasets import RaftConfig, YieldReport
from aiforge.storage import Storage

DOCUMENT = re.compile(r"<DOCUMENT (.+?):(\d+)-(\d+)>\n(.*?)\n</DOCUMENT>", re.DOTALL)
SPLITS = ("train", "validation")


def changed_files() -> dict[str, str]:
    """The corpus some commits later: one function changed, a file gone, one moved, one new."""
    files = corpus_files()
    edited = files["zoo/badger.py"].replace("total += number", "total += number + len(field)")
    files["zoo/badger.py"] = f"# Changed\n\n{edited}"
    del files["zoo/ibex.py"]
    files["zoo/moved.py"] = files.pop("zoo/heron.py")
    files["zoo/walrus.py"] = module("walrus")
    return files


def cold(storage: Storage, tokenizer_json: str, snapshot: SnapshotRef, tmp_path: Path) -> Storage:
    """A storage in which the snapshot was built without anything known before."""
    other = Storage(str(tmp_path / "cold"))
    shutil.copytree(storage.full(snapshot.path), other.full(snapshot.path))
    config = RaftConfig(validation_fraction=0.25)
    arguments = (config, 1000, "alpaca", tokenizer_json, map_here, lambda *_: None)
    Build(other, "ds-1", [snapshot], *arguments).run()  # type: ignore[arg-type]
    return other


def stripped(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """What of examples does not depend on the distractors, by id."""
    names = ("kind", "path", "start_line", "end_line", "commit", "golden", "instruction", "output")
    return {row["id"]: tuple(row[name] for name in names) for row in rows}


def check_documents(files: dict[str, str], storage: Storage) -> None:
    """Every document of every example is what stands in the files today, and says nothing away."""
    held_out = {row["path"] for row in rows_of(storage, "validation")}
    for split in SPLITS:
        for row in rows_of(storage, split):
            answer = parse_answer(row["output"])
            assert answer
            documents = DOCUMENT.findall(row["input"])
            for path, first, last, text in documents:
                lines = files[path].split("\n")[int(first) - 1 : int(last)]
                assert text.strip() in "\n".join(lines)
                assert split == "validation" or path not in held_out
                if (path, int(first)) != (row["path"], row["start_line"]):
                    assert normalise(answer.answer) not in normalise(text)
            assert len({document[:3] for document in documents}) == len(documents)


def test_the_same_build_again_makes_nothing_anew(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    snapshot = write_snapshot(corpus_files())
    first = run_build(snapshot)
    before = [rows_of(storage, split) for split in SPLITS]
    again = run_build(snapshot)
    assert [rows_of(storage, split) for split in SPLITS] == before
    assert (first.new_files, first.reused_pairs) == (len(corpus_files()), 0)
    assert again.new_files == 0
    assert again.reused_pairs >= again.train_count + again.validation_count
    assert again.report == first.report


def test_a_later_build_does_only_what_is_new_and_equals_a_cold_one(
    storage: Storage,
    write_snapshot: Write,
    run_build: Run,
    tokenizer_json: str,
    tmp_path: Path,
) -> None:
    before = run_build(write_snapshot(corpus_files()))
    later = write_snapshot(changed_files(), revision="r2")
    result = run_build(later)
    assert result.new_files == 3
    # Three of sixteen files changed, and most examples show some of their chunks.
    assert 20 < result.reused_pairs < before.train_count + before.validation_count
    fresh = cold(storage, tokenizer_json, later, tmp_path)
    for split in SPLITS:
        assert stripped(rows_of(storage, split)) == stripped(rows_of(fresh, split))
    reports = [at.read_json("datasets/ds-1/report.json")["stages"] for at in (storage, fresh)]
    assert reports[0] == reports[1]
    for at in (storage, fresh):
        check_documents(changed_files(), at)


def test_examples_whose_oracle_vanished_are_gone(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    run_build(write_snapshot(corpus_files()))
    assert any(row["path"] == "zoo/ibex.py" for s in SPLITS for row in rows_of(storage, s))
    run_build(write_snapshot(changed_files(), revision="r2"))
    for split in SPLITS:
        for row in rows_of(storage, split):
            assert row["path"] != "zoo/ibex.py"
            assert "zoo/ibex.py:" not in row["input"]


def test_another_setting_of_chunks_takes_nothing_over(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    snapshot = write_snapshot(corpus_files())
    run_build(snapshot)
    assert run_build(snapshot, chunk_tokens=120).new_files == len(corpus_files())
    asked_otherwise = run_build(snapshot, seed=5)
    assert (asked_otherwise.new_files, asked_otherwise.reused_pairs) == (0, 0)


def test_what_no_build_needs_any_more_is_removed_in_time(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    run_build(write_snapshot(corpus_files()))
    directory = Path(storage.full("sources/src-1/chunks"))
    old = set(directory.rglob("*.arrow"))
    for path in old:
        os.utime(path, (1, 1))
    run_build(write_snapshot({"a.py": module("badger"), "b.py": module("yak")}, revision="r2"))
    left = set(directory.rglob("*.arrow"))
    assert len(left) == 2
    assert {path.name for path in left & old} == {packs.BLOBS_FILE}


@pytest.mark.parametrize("stage", ["chunking files", "making examples", "writing examples"])
def test_a_killed_build_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
    storage: Storage,
    write_snapshot: Write,
    run_build: Run,
    tokenizer_json: str,
    tmp_path: Path,
    stage: str,
) -> None:
    monkeypatch.setattr("aiforge.raft.planning._SHARD_CHUNKS", 40)
    snapshot = write_snapshot(corpus_files())
    # Forked, so that the child has the small shards too.
    context = multiprocessing.get_context("fork")
    child = context.Process(
        target=build_until_killed, args=(storage.uri, tokenizer_json, snapshot, stage)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert not storage.exists("datasets/ds-1/report.json")
    kept = Path(storage.root)
    done = {path: path.stat().st_mtime_ns for path in kept.rglob("*.arrow")}
    assert done
    result = run_build(snapshot)
    for path, written in done.items():
        if path.name != packs.BLOBS_FILE and path.exists():
            assert path.stat().st_mtime_ns == written, path
    fresh = cold(storage, tokenizer_json, snapshot, tmp_path)
    for split in SPLITS:
        assert rows_of(storage, split) == rows_of(fresh, split)
    report = YieldReport.model_validate(fresh.read_json("datasets/ds-1/report.json"))
    assert result.report == report
    assert not storage.exists("datasets/ds-1/build")


def test_a_pack_half_of_whose_source_is_gone_is_made_anew(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    run_build(write_snapshot(corpus_files()))
    for path in Path(storage.full("sources/src-1/chunks")).rglob("*.arrow"):
        if path.name != packs.BLOBS_FILE:
            path.unlink()
    later = run_build(write_snapshot(changed_files(), revision="r2"))
    assert later.train_count > 60
    check_documents(changed_files(), storage)


def test_a_corpus_of_several_shards_keeps_the_rules(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    monkeypatch.setattr("aiforge.raft.planning._SHARD_CHUNKS", 20)
    run_build(write_snapshot(corpus_files(), block=2))
    pairs = list(Path(storage.full("sources/src-1/pairs")).rglob("*.arrow"))
    assert len(pairs) > 2
    check_documents(corpus_files(), storage)
