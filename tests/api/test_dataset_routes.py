"""Datasets over HTTP: a teacher that may be asked, examples as lines, and what a build leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import World, add_source

from aiforge.client import AIForge
from aiforge.errors import NotFound
from aiforge.raft.build import Build, BuildResult
from aiforge.raft.stages import map_here
from aiforge.raft.teacher import ask_here
from aiforge.raft.teaching import Teaching
from aiforge.services.context import RunContext
from aiforge.services.journal import Journal
from aiforge.services.work import generate, sync
from aiforge.state import outcomes, runs
from aiforge.storage import Storage

MODULE = '''"""All about the {0}."""


def count_{0}s(fields: list[str], limit: int | None = None) -> int:
    """Count each {0} that stands in the given fields, up to a limit."""
    total = 0
    for number, field in enumerate(fields):
        if "{0}" in field:
            total += number
        if limit is not None and total >= limit:
            total = limit
            break
    return total
'''


@pytest.fixture
def repository(make_repository: Callable[[Mapping[str, str]], Path]) -> Path:
    names = ("badger", "egret", "ferret", "gannet", "heron", "ibex")
    return make_repository({f"zoo/{name}.py": MODULE.format(name) for name in names})


def _build_here(storage_uri: str, *arguments: Any, **options: Any) -> BuildResult:
    """As ``build_dataset``, but in this process."""
    teacher = options.pop("teacher")
    teaching = Teaching(teacher, ask_here) if teacher else None
    return Build(Storage(storage_uri), *arguments, map=map_here, teaching=teaching, **options).run()


def carry_out(world: World, resource_id: str, work: Callable[[RunContext], dict[str, Any]]) -> None:
    """Do what a driver does with the run of a resource, in this process."""
    run = world.start(resource_id)
    services = world.services
    journal = Journal(services.state, run)
    context = RunContext(run, services.settings, services.storage, services.state, journal)
    services.state.call_sync(outcomes.complete, run.id, run.attempt, work(context))


def read_source(api: httpx.Client, world: World, repository: Path) -> str:
    """A source that was really read."""
    created = api.post("/data-sources", json={"type": "git", "url": str(repository)})
    source_id: str = created.json()["sourceId"]
    carry_out(world, source_id, sync.execute)
    return source_id


def add_dataset(
    api: httpx.Client, world: World, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A dataset that was really built."""
    monkeypatch.setattr(generate, "build_dataset", _build_here)
    source_id = read_source(api, world, repository)
    body = {"name": "zoo", "sourceIds": [source_id], "raft": {"validationFraction": 0.3}}
    dataset_id: str = api.post("/datasets/generate", json=body).json()["datasetId"]
    carry_out(world, dataset_id, generate.execute)
    return dataset_id


def test_examples_come_as_lines_in_any_shape(
    api: httpx.Client, world: World, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = add_dataset(api, world, repository, monkeypatch)
    detail = api.get(f"/datasets/{dataset_id}").json()
    shapes = {
        "alpaca": {"instruction", "input", "output"},
        "chat": {"messages"},
        "sharegpt": {"conversations"},
        "completion": {"prompt", "completion"},
    }
    for shape, keys in shapes.items():
        answer = api.get(f"/datasets/{dataset_id}/export", params={"format": shape})
        assert answer.headers["Content-Type"].startswith("application/x-ndjson")
        assert f"{dataset_id}-train.jsonl" in answer.headers["Content-Disposition"]
        rows = [json.loads(line) for line in answer.text.splitlines()]
        assert len(rows) == detail["trainCount"]
        assert all(set(row) == keys | {"id", "kind"} for row in rows)
    counts = {
        split: len(
            api.get(f"/datasets/{dataset_id}/export", params={"split": split}).text.split("\n")
        )
        - 1
        for split in ("train", "validation", "all")
    }
    assert counts["all"] == counts["train"] + counts["validation"] == detail["exampleCount"]


def test_client_and_command_write_the_same_lines(
    api: httpx.Client,
    world: World,
    repository: Path,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    dataset_id = add_dataset(api, world, repository, monkeypatch)
    with AIForge(server) as forge:
        rows = list(forge.datasets.examples(dataset_id, split="all", format="chat"))
        with pytest.raises(NotFound):
            list(forge.datasets.examples("ds-none"))
    wanted = api.get(f"/datasets/{dataset_id}/export", params={"split": "all", "format": "chat"})
    assert [json.loads(line) for line in wanted.text.splitlines()] == rows
    path = tmp_path / "rows.jsonl"
    options = ["--split", "all", "--format", "chat", "--output", str(path)]
    monkeypatch.setenv("AIFORGE_URL", server)
    command = [sys.executable, "-m", "aiforge.cli", "dataset", "export", dataset_id, *options]
    subprocess.run(command, check=True, capture_output=True)
    assert path.read_text() == wanted.text


def test_exports_that_are_refused(api: httpx.Client, world: World, repository: Path) -> None:
    source_id = add_source(api, world, repository)
    body = {"name": "d", "sourceIds": [source_id], "maxExamples": 20}
    dataset_id = api.post("/datasets/generate", json=body).json()["datasetId"]
    early = api.get(f"/datasets/{dataset_id}/export")
    assert (early.status_code, early.json()["detail"]["code"]) == (409, "dataset_not_ready")
    assert api.get("/datasets/ds-none/export").status_code == 404
    world.finish(dataset_id)
    for wrong in ({"split": "test"}, {"format": "csv"}):
        assert api.get(f"/datasets/{dataset_id}/export", params=wrong).status_code in (400, 422)


def test_a_build_leaves_a_report_and_a_chart(
    api: httpx.Client, world: World, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = add_dataset(api, world, repository, monkeypatch)
    found = api.get("/artifacts", params={"resourceId": dataset_id}).json()
    by_type = {artifact["type"]: artifact for artifact in found}
    assert len(found) == 3
    assert set(by_type) == {"report", "chart", "file"}
    text = api.get(f"/artifacts/{by_type['report']['id']}/content").text
    assert "## Yield" in text
    spec = api.get(f"/artifacts/{by_type['chart']['id']}/content").json()
    assert spec["vconcat"][0]["data"]["values"]
    preview = api.get(f"/artifacts/{by_type['file']['id']}/content").json()
    assert preview == api.get(f"/datasets/{dataset_id}").json()["preview"]


@pytest.mark.parametrize(
    ("teacher", "status", "code"),
    [
        ({"url": "http://169.254.169.254/v1", "model": "m"}, 400, "url_not_allowed"),
        ({"url": "https://10.0.0.7/v1", "model": "m"}, 400, "url_not_allowed"),
        ({"url": "https://a:b@example.org/v1", "model": "m"}, 400, "url_has_credentials"),
        (
            {"url": "https://example.org/v1", "model": "m", "apiKeyEnv": "AIFORGE_JWT_SECRET"},
            400,
            "key_not_bound",
        ),
        ({"model": "m"}, 400, None),
        ({"url": "https://example.org/v1", "model": "m", "apiKey": "k"}, 422, None),
        ({"url": "https://example.org/v1", "model": "m", "slots": 100_000}, 400, None),
    ],
)
def test_teachers_that_may_not_be_asked(
    api: httpx.Client,
    world: World,
    repository: Path,
    teacher: dict[str, Any],
    status: int,
    code: str | None,
) -> None:
    source_id = add_source(api, world, repository)
    body = {"name": "d", "sourceIds": [source_id], "teacher": teacher}
    refused = api.post("/datasets/generate", json=body)
    assert refused.status_code == status
    assert code in (None, refused.json()["detail"]["code"])
    assert not api.get("/datasets").json()


def test_a_source_tells_where_it_stands_in_its_commits(
    api: httpx.Client, world: World, repository: Path
) -> None:
    source_id = read_source(api, world, repository)
    history = api.get(f"/data-sources/{source_id}").json()["history"]
    assert (history["previousCommit"], history["commitCount"]) == (None, None)
    for subject in ("Say nothing", "Say nothing again"):
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        command = ["git", *identity, "commit", "-q", "--allow-empty", "-m", subject]
        subprocess.run(command, cwd=repository, check=True)
    api.post(f"/data-sources/{source_id}/sync")
    carry_out(world, source_id, sync.execute)
    again = api.get(f"/data-sources/{source_id}").json()["history"]
    assert (again["previousCommit"], again["commitCount"]) == (history["commit"], 2)
    assert [c["subject"] for c in again["commits"]] == ["Say nothing again", "Say nothing"]


def test_a_build_shows_how_far_it_is_and_can_be_cancelled(
    api: httpx.Client, world: World, repository: Path
) -> None:
    source_id = read_source(api, world, repository)
    body = {"name": "zoo", "sourceIds": [source_id]}
    dataset_id = api.post("/datasets/generate", json=body).json()["datasetId"]
    run = world.start(dataset_id)
    state = world.services.state
    report = runs.Report(progress=70, stage="making examples", figures={"example_count": 123})
    state.call_sync(runs.record, run.id, run.attempt, report)
    shown = api.get(f"/datasets/{dataset_id}").json()
    assert (shown["status"], shown["stage"]) == ("generating", "making examples")
    assert (shown["progress"], shown["exampleCount"]) == (70, 123)
    assert api.get("/datasets").json()[0]["exampleCount"] == 123
    refused = api.delete(f"/datasets/{dataset_id}")
    assert refused.status_code == 409
    for _ in range(2):
        cancelled = api.post(f"/datasets/{dataset_id}/cancel")
        assert (cancelled.status_code, cancelled.json()) == (200, {"message": "Build cancelled"})
    state.call_sync(outcomes.cancelled, run.id, run.attempt)
    ended = api.get(f"/datasets/{dataset_id}").json()
    assert (ended["status"], ended["errorCode"], ended["exampleCount"]) == (
        "failed",
        "cancelled",
        0,
    )
    assert api.delete(f"/datasets/{dataset_id}").status_code == 200
    assert api.post(f"/datasets/{dataset_id}/cancel").status_code == 404


def test_what_is_built_cannot_be_cancelled(
    api: httpx.Client, world: World, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = add_dataset(api, world, repository, monkeypatch)
    refused = api.post(f"/datasets/{dataset_id}/cancel")
    assert refused.status_code == 409
    assert refused.json()["detail"]["code"] == "run_is_completed"
    assert api.get(f"/datasets/{dataset_id}").json()["status"] == "ready"
