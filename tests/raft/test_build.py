"""Whole builds: accounted for, deterministic, held out for good, and the same on a cluster."""

from __future__ import annotations

import json

import pytest
from corpora import ANIMALS, Run, Write, corpus_files, module, rows_of

from aiforge.errors import Cancelled, Failure
from aiforge.raft.answers import parse_answer
from aiforge.raft.build import Build
from aiforge.raft.stages import map_here
from aiforge.raft.tokens import TokenCounter
from aiforge.raft.wording import normalise
from aiforge.schemas.datasets import RaftConfig, YieldReport
from aiforge.storage import Storage


def test_a_dataset_and_its_account(
    storage: Storage, write_snapshot: Write, run_build: Run, counter: TokenCounter
) -> None:
    files = corpus_files()
    result = run_build(write_snapshot(files))
    train, validation = rows_of(storage, "train"), rows_of(storage, "validation")
    assert (len(train), len(validation)) == (result.train_count, result.validation_count)
    assert len(train) > 60
    assert len(validation) > 10
    rows = train + validation
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert (row["source_id"], row["commit"], row["license"]) == ("src-1", "c0ffee", "MIT")
        lines = files[row["path"]].split("\n")[row["start_line"] - 1 : row["end_line"]]
        answer = parse_answer(row["output"])
        assert answer
        for passage in answer.quotes:
            assert normalise(passage) in normalise("\n".join(lines))
        oracle = f"<DOCUMENT {row['path']}:{row['start_line']}-{row['end_line']}>"
        assert (oracle in row["input"]) == row["golden"]
    prompts = [f"{row['input']}\n\n{row['instruction']}{row['output']}" for row in rows]
    assert max(counter.exact(prompts)) <= 1024 - 64
    golden = [row["golden"] for row in rows if row["kind"] != "infill"]
    assert 0.6 < sum(golden) / len(golden) < 0.95
    report = YieldReport.model_validate(storage.read_json("datasets/ds-1/report.json"))
    assert report == result.report
    for stage in report.stages:
        assert stage.entered == stage.left + sum(stage.dropped.values()), stage
    assert sum(report.kinds.values()) == len(rows)
    assert report.quality_components["groundedness"] == 1.0
    assert report.quality_samples["noLeakage"] == len(validation)
    assert result.quality is not None
    assert 0.5 < result.quality <= 1
    preview = storage.read_json("datasets/ds-1/preview.json")
    assert preview == result.preview
    assert {row["kind"] for row in preview} == set(report.kinds)
    assert {"instruction", "input", "output"} <= set(preview[0])


def test_held_out_files_are_seen_by_validation_alone(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    run_build(write_snapshot(corpus_files()), validation_fraction=0.3)
    train, validation = rows_of(storage, "train"), rows_of(storage, "validation")
    held_out = {row["path"] for row in validation}
    assert held_out
    assert not held_out & {row["path"] for row in train}
    for row in train:
        assert not any(f"<DOCUMENT {path}:" in row["input"] for path in held_out)
    copies = {f"copy/{name}.py": module(name) for name in ANIMALS[4:]}
    run_build(write_snapshot(corpus_files() | copies, revision="r2"), validation_fraction=0.3)
    sides = {row["path"]: "train" for row in rows_of(storage, "train")}
    sides |= {row["path"]: "validation" for row in rows_of(storage, "validation")}
    for path in copies:
        twin = f"zoo/{path.removeprefix('copy/')}"
        assert sides.get(path, sides.get(twin)) == sides.get(twin, sides.get(path))


def test_near_copies_of_training_chunks_are_not_validated(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    files = {f"v{i}/badger.py": module("badger") + f"\n\nVERSION = {i}\n" for i in range(12)}
    result = run_build(write_snapshot(files | {"zoo/heron.py": module("heron")}))
    questions = next(stage for stage in result.report.stages if stage.stage == "questions")
    assert questions.dropped["near-duplicate of a training chunk"] > 0
    assert not any(row["path"].startswith("v") for row in rows_of(storage, "validation"))


def test_builds_follow_from_the_seed(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    snapshot = write_snapshot(corpus_files())
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_build(snapshot, dataset_id=name, seed=seed, max_examples=60)
    same = [rows_of(storage, split, name) for name in "ab" for split in ("train", "validation")]
    assert same[:2] == same[2:]
    assert rows_of(storage, "train", "c") != same[0]


def test_max_examples_is_kept_and_balanced(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    result = run_build(write_snapshot(corpus_files()), max_examples=40)
    assert result.train_count + result.validation_count == 40
    assert result.validation_count == 10
    assert max(result.report.kinds.values()) <= 10
    few = run_build(write_snapshot(corpus_files()), max_examples=1)
    assert (few.train_count, few.validation_count) == (1, 0)


def test_distractors_are_dropped_to_fit_and_counted(
    storage: Storage, write_snapshot: Write, run_build: Run, counter: TokenCounter
) -> None:
    result = run_build(write_snapshot(corpus_files()), context_tokens=420, distractors=8)
    slots = next(stage for stage in result.report.stages if stage.stage == "distractors")
    assert slots.dropped["no room in the context"] > 0
    rows = rows_of(storage, "train")
    sizes = counter.exact([f"{r['input']}\n\n{r['instruction']}{r['output']}" for r in rows])
    assert max(sizes) <= 420 - 64


def test_several_sources_are_built_together(
    storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    first = write_snapshot({"a.py": module("badger"), "b.py": module("egret")}, "src-1")
    second = write_snapshot({"a.py": module("heron"), "b.py": module("ibex")}, "src-2")
    run_build(first, second)
    rows = rows_of(storage, "train") + rows_of(storage, "validation")
    assert {row["source_id"] for row in rows} == {"src-1", "src-2"}


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        ({"a.py": "x = 1\n", "b.py": "y = 2\n"}, {}, "2 × too short to be of use"),
        ({"a.txt": "word " * 200}, {}, r"none of the \d+ chunks gave questions"),
        (corpus_files(), {"context_tokens": 128}, "longer than the context"),
    ],
)
def test_a_build_that_yields_nothing_fails(
    storage: Storage,
    write_snapshot: Write,
    run_build: Run,
    files: dict[str, str],
    options: dict[str, object],
    reason: str,
) -> None:
    with pytest.raises(Failure, match=reason) as failed:
        run_build(write_snapshot(files), **options)
    assert failed.value.code == "dataset_empty"
    assert "\n" not in failed.value.message
    json.dumps(failed.value.detail)
    assert not storage.exists("datasets/ds-1")


def test_cancelling_leaves_nothing(
    storage: Storage, write_snapshot: Write, tokenizer_json: str
) -> None:
    def stop(_: float, stage: str, __: int) -> None:
        if stage == "making examples":
            raise Cancelled("stop")

    snapshot = write_snapshot(corpus_files())
    build = Build(
        *(storage, "ds-1", [snapshot], RaftConfig(), 50, "alpaca", tokenizer_json, map_here, stop)
    )
    with pytest.raises(Cancelled):
        build.run()
    assert not storage.exists("datasets/ds-1")


@pytest.mark.cluster
def test_a_cluster_builds_the_same(
    ray_cluster: None,
    storage: Storage,
    write_snapshot: Write,
    run_build: Run,
    tokenizer_json: str,
) -> None:
    from aiforge.raft.ray_build import build_dataset

    snapshot = write_snapshot(corpus_files())
    here = run_build(snapshot, dataset_id="here", max_examples=80)
    seen: list[tuple[float, str]] = []
    there = build_dataset(
        storage.uri,
        "there",
        [snapshot],
        config=RaftConfig(validation_fraction=0.25),
        max_examples=80,
        format="alpaca",
        tokenizer_json=tokenizer_json,
        progress=lambda part, stage, _: seen.append((part, stage)),
    )
    for split in ("train", "validation"):
        assert rows_of(storage, split, "here") == rows_of(storage, split, "there")
    assert there.report == here.report
    assert [part for part, _ in seen] == sorted(part for part, _ in seen)
    assert {stage for _, stage in seen} >= {"chunking files", "making examples"}

    def stop(_: float, stage: str, __: int) -> None:
        if stage == "making examples":
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        build_dataset(
            storage.uri,
            "stopped",
            [snapshot],
            config=RaftConfig(),
            max_examples=80,
            format="alpaca",
            tokenizer_json=tokenizer_json,
            progress=stop,
        )
    assert not storage.exists("datasets/stopped")
