"""What plugs into a build: cleaners, chunk filters and example filters, and their account."""

from __future__ import annotations

import pytest
from corpora import Run, Write, corpus_files, rows_of

from aiforge.errors import Failure
from aiforge.raft import filters
from aiforge.raft.filters import Cleaner, Filter, one_by_one, refusals
from aiforge.raft.records import Chunk
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage


def _stage(result: object, name: str) -> dict[str, int]:
    return next(s.dropped for s in result.report.stages if s.stage == name)  # type: ignore[attr-defined]


def test_the_first_filter_that_refuses_gives_the_reason() -> None:
    small = Filter("small", 1, one_by_one(lambda n, _: "small" if n < 3 else None))
    seen: list[int] = []

    def odd(items: object, _: RaftConfig) -> list[str | None]:
        seen.extend(items)  # type: ignore[call-overload]
        return ["odd" if item % 2 else None for item in items]  # type: ignore[attr-defined]

    assert refusals([small, Filter("odd", 1, odd)], [1, 5, 4], RaftConfig()) == [
        "small",
        "odd",
        None,
    ]
    assert seen == [5, 4]


def test_refused_and_cleaned_are_gone_and_counted(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, write_snapshot: Write, run_build: Run
) -> None:
    def refuse(chunk: Chunk, _: RaftConfig) -> str | None:
        return "about herons" if "heron" in chunk.path else None

    def clean(text: str, _: RaftConfig) -> tuple[str, dict[str, int]]:
        return text.replace("ibex", "goat"), {"ibex": text.count("ibex")}

    cleaner = Cleaner("ibex", 1, clean)
    usage = one_by_one(lambda row, _: "no usage" if row["kind"] == "usage" else None)
    monkeypatch.setattr(filters, "CLEANERS", [cleaner])
    monkeypatch.setattr(filters, "CHUNK_FILTERS", [Filter("herons", 1, one_by_one(refuse))])
    monkeypatch.setattr(filters, "EXAMPLE_FILTERS", [Filter("usage", 1, usage)])
    result = run_build(write_snapshot(corpus_files()))
    rows = rows_of(storage, "train") + rows_of(storage, "validation")
    assert rows
    for row in rows:
        assert row["kind"] != "usage"
        assert "heron" not in row["path"]
        assert "heron.py:" not in row["input"]
        assert "feed_ibex" not in row["input"] + row["output"]
    assert _stage(result, "chunks")["about herons"] > 0
    assert _stage(result, "examples")["no usage"] > 0
    assert result.report.cleaned == {"ibex": corpus_files()["zoo/ibex.py"].count("ibex")}
    for stage in result.report.stages:
        assert stage.entered == stage.left + sum(stage.dropped.values())


def test_a_build_of_which_all_is_refused_fails_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, write_snapshot: Write, run_build: Run
) -> None:
    every = Filter[Chunk]("all", 1, one_by_one(lambda _chunk, _config: "of no licence"))
    monkeypatch.setattr(filters, "CHUNK_FILTERS", [every])
    with pytest.raises(Failure, match=r"none was left \(\d+ × of no licence\)") as failed:
        run_build(write_snapshot(corpus_files()))
    assert failed.value.code == "dataset_empty"
