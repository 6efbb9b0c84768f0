"""Builds with what chunks do not say of themselves: a teacher's questions, and commits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from corpora import corpus_files, rows_of
from teacher_server import answer_of, teacher_server
from test_teacher import plan_for

from aiforge.errors import Failure, Unavailable
from aiforge.raft.answers import parse_answer
from aiforge.raft.build import Build, BuildResult, SnapshotRef
from aiforge.raft.stages import map_here
from aiforge.raft.teacher import BUDGET_SPENT, ask_here
from aiforge.raft.teaching import Teaching
from aiforge.raft.wording import normalise
from aiforge.schemas.datasets import RaftConfig
from aiforge.sources.sync import sync_git
from aiforge.storage import Storage

sys.path.append(str(Path(__file__).parents[1] / "sources"))
from repositories import commit, repository


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = repository(tmp_path / "roots" / "zoo", corpus_files())
    for name in ("badger", "egret", "ferret", "ibex"):
        path = f"zoo/{name}.py"
        text = (root / path).read_text().replace("left -= 0.5", "left -= 0.75")
        commit(root, {path: text}, f"Feed each {name} more at night")
    return root


def snapshot(storage: Storage, root: Path) -> SnapshotRef:
    result = sync_git(storage, "src-1", str(root), allowed_roots=[root.parent])
    return SnapshotRef("src-1", result.snapshot)


def build(
    storage: Storage,
    tokenizer_json: str,
    ref: SnapshotRef,
    url: str | None = None,
    dataset_id: str = "ds-1",
    max_examples: int = 60,
    **options: Any,
) -> BuildResult:
    teaching = Teaching(plan_for(storage, url, dataset_id, **options), ask_here) if url else None
    return Build(
        *(storage, dataset_id, [ref], RaftConfig(validation_fraction=0.25), max_examples),
        *("alpaca", tokenizer_json, map_here, lambda _part, _stage, _made: None),
        teaching,
    ).run()


def all_rows(storage: Storage, dataset_id: str = "ds-1") -> list[dict[str, Any]]:
    return [row for split in ("train", "validation") for row in rows_of(storage, split, dataset_id)]


def test_commits_become_questions_for_their_diff(
    storage: Storage, project: Path, tokenizer_json: str
) -> None:
    result = build(storage, tokenizer_json, snapshot(storage, project), max_examples=1000)
    rows = [row for row in all_rows(storage) if row["kind"] == "commit"]
    assert len(rows) == result.report.kinds["commit"] == 4
    for row in rows:
        name = Path(row["path"]).stem
        assert f"Feed each {name} more at night" in row["instruction"]
        before = row["instruction"].partition("```python\n")[2].rpartition("\n```")[0]
        diff = row["output"].partition("```diff\n")[2].rpartition("\n```")[0]
        kept = [line[1:] for line in diff.split("\n") if line[:1] != "+"]
        assert before == "\n".join(kept)
        assert "+            left -= 0.75" in diff
        assert not row["golden"]
        answer = parse_answer(row["output"])
        assert answer is not None
        text = normalise((project / row["path"]).read_text())
        assert all(passage in text for passage in answer.quotes)


def test_a_teacher_s_questions_come_first_and_are_accounted_for(
    storage: Storage, project: Path, tokenizer_json: str
) -> None:
    ref = snapshot(storage, project)
    with teacher_server() as (url, server):
        result = build(storage, tokenizer_json, ref, url)
        rows = all_rows(storage)
        assert len(rows) == 60
        assert result.report.kinds["teacher"] > 30
        for row in rows:
            if row["kind"] == "teacher":
                answer = parse_answer(row["output"])
                assert answer is not None
                lines = (project / row["path"]).read_text().split("\n")
                held = normalise("\n".join(lines[row["start_line"] - 1 : row["end_line"]]))
                assert all(passage in held for passage in answer.quotes)
        use = result.report.teacher
        assert use is not None
        assert use.requests == server.requests
        # No more chunks are asked about than so many examples can need.
        assert use.requests <= 60 * 1.2 / 3 + 1
        stage = next(stage for stage in result.report.stages if stage.stage == "teacher")
        assert (stage.left, stage.entered) == (use.pairs, use.pairs + sum(use.dropped.values()))
        assert result.report.quality_components["groundedness"] == 1.0
        again = build(storage, tokenizer_json, ref, url, "ds-2")
        assert server.requests == use.requests
        assert all_rows(storage, "ds-2") == rows
        assert again.report.teacher is not None
        assert (again.report.teacher.requests, again.report.teacher.cached) == (0, use.requests)


def test_after_a_commit_only_new_chunks_are_asked_about(
    storage: Storage, project: Path, tokenizer_json: str
) -> None:
    with teacher_server() as (url, server):
        build(storage, tokenizer_json, snapshot(storage, project), url, max_examples=1000)
        before = server.requests
        text = (project / "zoo/heron.py").read_text() + "\n\ndef rest_heron(hours: int) -> int:\n"
        body = '    """Let one heron rest for some hours and return how many are left."""\n'
        commit(project, {"zoo/heron.py": f"{text}{body}    return 24 - hours\n"}, "Let herons rest")
        build(storage, tokenizer_json, snapshot(storage, project), url, "ds-2", 1000)
        assert 1 <= server.requests - before <= 2


def test_a_spent_budget_leaves_the_rest_to_questions_without_a_teacher(
    storage: Storage, project: Path, tokenizer_json: str
) -> None:
    with teacher_server() as (url, server):
        ref = snapshot(storage, project)
        result = build(storage, tokenizer_json, ref, url, max_requests=4)
        assert server.requests == 4
        assert result.train_count + result.validation_count == 60
        assert result.report.teacher is not None
        assert result.report.teacher.budget_spent
        assert result.report.teacher.dropped[BUDGET_SPENT] == result.report.teacher.chunks - 4


def test_another_teacher_s_answers_are_its_own(
    storage: Storage, project: Path, tokenizer_json: str
) -> None:
    ref = snapshot(storage, project)
    with teacher_server() as (url, _):
        build(storage, tokenizer_json, ref, url)

    def other(body: dict[str, Any]) -> str:
        return answer_of(body).replace("It says: ", "Read there: ")

    with teacher_server(answer=other) as (url, _):
        build(storage, tokenizer_json, ref, url, "ds-2", model="other")
    said = {row["output"] for row in all_rows(storage, "ds-2") if row["kind"] == "teacher"}
    assert said
    assert all("Read there" in output for output in said)


def test_a_teacher_that_is_away_fails_the_build_and_leaves_nothing(
    storage: Storage, project: Path, tokenizer_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiforge.raft.teacher_http._FIRST_WAIT", 0.001)
    ref = snapshot(storage, project)
    with pytest.raises((Failure, Unavailable)) as away:
        build(storage, tokenizer_json, ref, "http://127.0.0.1:1")
    assert away.value.code == "teacher_unreachable"
    assert not storage.exists("datasets/ds-1")
