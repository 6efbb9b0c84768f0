"""The command line against the real API."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from served import BASE_MODEL, World
from typer.testing import Result

from aiforge.cli import job as job_commands
from aiforge.cli import progress
from aiforge.client import AIForge

Run = Callable[..., Result]


@pytest.fixture
def repository(make_repository: Callable[[Mapping[str, str]], Path]) -> Path:
    return make_repository({"a.py": "x = 1\n"})


@pytest.fixture
def dataset_id(forge: AIForge, world: World, repository: Path) -> str:
    source = forge.sources.create_git(str(repository))
    world.finish(source.id)
    dataset = forge.datasets.generate("d", [source.id], base_model=BASE_MODEL)
    world.finish(dataset.id)
    return dataset.id


@pytest.fixture
def job_id(forge: AIForge, world: World, dataset_id: str) -> str:
    """A job that has completed."""
    job = forge.jobs.fine_tune("p", dataset_id, BASE_MODEL)
    run = world.start(job.id)
    world.report(run, 1, 2, 3, log="All of it")
    world.complete(run)
    return job.id


def test_whole_road(run: Run, world: World, repository: Path) -> None:
    with world.working():
        added = run("source", "add", str(repository), "--json")
        source = json.loads(added.stdout)
        built = run(
            *("dataset", "generate", "first", "--source", source["id"]),
            *("--base-model", BASE_MODEL, "--chunk-tokens", "64", "--json"),
        )
        dataset = json.loads(built.stdout)
        trained = run("train", "myproject", "--base-model", BASE_MODEL, "--epochs", "2")

    assert source["status"] == "synced"
    assert dataset["exampleCount"] == 10
    assert trained.exit_code == 0, trained.output
    assert f"taking the newest, first ({dataset['id']})" in trained.stdout
    assert "completed" in trained.stdout
    assert "/adapters/1" in trained.stdout


def test_training_from_a_source_builds_the_dataset_first(
    run: Run, world: World, repository: Path
) -> None:
    with world.working():
        source = json.loads(run("source", "add", str(repository), "--json").stdout)
        trained = run(
            *("train", "p", "--source", source["id"], "--base-model", BASE_MODEL, "--json")
        )

    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["status"] == "completed"


def test_a_plan_is_shown_and_nothing_is_started(run: Run, world: World, repository: Path) -> None:
    with world.working():
        source = json.loads(run("source", "add", str(repository), "--json").stdout)
        built = run("train", "p", "--source", source["id"], "-m", BASE_MODEL, "--plan")

    assert built.exit_code == 0, built.output
    assert "rows of up to" in built.stdout
    assert json.loads(run("job", "list", "--json").stdout) == []
    assert run("train", "p", "-m", BASE_MODEL, "--workers", "1-", "--plan").exit_code == 2
    elastic = run("train", "p", "-m", BASE_MODEL, "--workers", "1-2", "--plan", "--json")
    assert json.loads(elastic.stdout)["minWorkers"] == 1


def test_upload_sends_files(run: Run, world: World, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")

    with world.working():
        added = run("source", "add", "--upload", str(tmp_path / "a.py"), "--name", "mine")

    assert added.exit_code == 0, added.output
    assert "upload" in added.stdout
    assert "aiforge dataset generate" in added.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["source", "list"], "No sources yet"),
        (["dataset", "list"], "No datasets yet"),
        (["job", "list"], "No jobs yet"),
    ],
)
def test_empty_lists_say_what_to_do(run: Run, arguments: list[str], text: str) -> None:
    shown = run(*arguments)

    assert shown.exit_code == 0
    assert text in shown.stdout
    assert json.loads(run(*arguments, "--json").stdout) == []


def test_lists_and_details(run: Run, dataset_id: str, job_id: str, forge: AIForge) -> None:
    source_id = forge.sources.list()[0].id
    outputs = [
        run("source", "list").stdout,
        run("source", "show", source_id).stdout,
        run("dataset", "list").stdout,
        run("dataset", "show", dataset_id).stdout,
        run("job", "list", "--status", "completed").stdout,
        run("job", "show", job_id).stdout,
    ]

    for output, text in zip(
        outputs, [source_id, "synced", dataset_id, "ready", job_id, "completed"], strict=True
    ):
        assert text in output
    assert "step" in outputs[-1]


def test_logs_metrics_and_json(run: Run, job_id: str) -> None:
    logs = run("job", "logs", job_id, "--tail", "5")
    metrics = run("job", "metrics", job_id)
    raw = run("job", "metrics", job_id, "--json")

    assert "[INFO] All of it" in logs.stdout
    assert "1.5000" in metrics.stdout
    assert json.loads(raw.stdout)["losses"] == [3.0, 1.5, 1.0]


def test_follow_shows_step_loss_and_rate(run: Run, job_id: str) -> None:
    followed = run("job", "follow", job_id, "--logs")

    assert followed.exit_code == 0, followed.output
    assert "step 3/3 · loss 1.000 · 1,000 tok/s · 1:05 min left" in followed.stdout
    assert "[INFO] All of it" in followed.stdout


def test_follow_as_json_gives_an_event_per_line(run: Run, job_id: str) -> None:
    lines = run("job", "follow", job_id, "--json").stdout.splitlines()

    types = [json.loads(line)["type"] for line in lines]
    assert types.count("job.metrics") == 3
    assert types[-1] == "job.updated"


def test_failed_job_is_a_failed_command(
    run: Run, forge: AIForge, world: World, dataset_id: str
) -> None:
    job = forge.jobs.fine_tune("p", dataset_id, BASE_MODEL)
    world.fail(world.start(job.id), "The loss is not finite.", "loss_not_finite")

    followed = run("job", "follow", job.id)

    assert followed.exit_code == 1
    assert followed.stderr.startswith(f"error: {job.id} failed: The loss is not finite.")
    assert f"aiforge job logs {job.id}" in followed.stderr
    assert len(followed.stderr.strip().splitlines()) == 1


def test_interrupt_while_following_leaves_the_job_running(
    run: Run, forge: AIForge, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "follow_job", interrupt)

    left = run("train", "p", "--dataset", dataset_id, "--base-model", BASE_MODEL)

    job = forge.jobs.list()[0]
    assert left.exit_code == 130
    assert f"aiforge job follow {job.id}" in left.stdout
    assert job.status == "queued"


def test_detached_training_tells_how_to_follow(run: Run, forge: AIForge, dataset_id: str) -> None:
    left = run("train", "p", "--dataset", dataset_id, "--base-model", BASE_MODEL, "--detach")

    assert left.exit_code == 0
    assert f"aiforge job follow {forge.jobs.list()[0].id}" in left.stdout


def test_cancel_and_delete(run: Run, forge: AIForge, dataset_id: str) -> None:
    job = forge.jobs.fine_tune("p", dataset_id, BASE_MODEL)

    refused = run("dataset", "delete", dataset_id)
    cancelled = run("job", "cancel", job.id)
    deleted = run("dataset", "delete", dataset_id)

    assert refused.exit_code == 1
    assert job.id in refused.stderr
    assert "cancelled" in cancelled.stdout
    assert deleted.stdout.strip() == f"{dataset_id}: Deleted"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["job", "show", "job-none"], 1, "There is no job job-none."),
        (["train", "p"], 1, "There is no ready dataset"),
        (["train", "p", "--dataset", "ds-1", "-m", BASE_MODEL, "--epochs", "99"], 1, "1 and 10"),
        (["train", "p", "--dataset", "ds-1", "--source", "src-1"], 2, "not both"),
        (["source", "add", "/etc"], 1, "error: "),
        (["source", "add", "--upload", "/nowhere/at/all"], 1, "no file or directory"),
        (["job", "list", "--limit", "0"], 2, "--limit"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_failures_are_one_line_and_an_exit_code(
    run: Run, arguments: list[str], code: int, text: str
) -> None:
    done = run(*arguments)

    assert done.exit_code == code, done.output
    assert text in done.stderr
    if code == 1:
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.strip().splitlines()) == 1


def test_errors_for_programs_are_json(run: Run) -> None:
    done = run("job", "show", "job-none", "--json")

    assert done.exit_code == 1
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["code"] == "job_not_found"


def test_absent_server_has_its_own_exit_code(run: Run) -> None:
    done = run("job", "list", AIFORGE_URL="http://127.0.0.1:9")

    assert done.exit_code == 3
    assert "aiforge up" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *([noun, "--help"] for noun in ("source", "dataset", "job", "train")),
        *(["source", verb, "-h"] for verb in ("add", "list", "show", "files", "sync", "delete")),
        *(["dataset", verb, "-h"] for verb in ("generate", "list", "show", "delete")),
        *(["job", v, "-h"] for v in ("list", "show", "follow", "logs", "metrics", "cancel")),
    ],
    ids=" ".join,
)
def test_help_teaches_by_example(run: Run, arguments: list[str]) -> None:
    shown = run(*arguments)

    assert shown.exit_code == 0
    assert "Examples" in shown.stdout
    assert "aiforge " in shown.stdout.partition("Examples")[2]


def test_help_waits_for_none_of_the_large_libraries() -> None:
    """One of these alone takes longer to import than all of the help."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aiforge.cli", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )

    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}

    assert "aiforge.cli" in imported
    large = {"fastapi", "httpx", "numpy", "pandas", "pyarrow", "ray", "sqlalchemy", "torch"}
    assert imported & (large | {"deepspeed", "peft", "tokenizers", "transformers"}) == set()


def test_version_is_the_packages(run: Run) -> None:
    from aiforge import __version__

    assert run("--version").stdout.strip() == f"aiforge {__version__}"


def test_job_details_leave_out_what_is_not_known(forge: AIForge, dataset_id: str) -> None:
    from rich.console import Console

    job = forge.jobs.fine_tune("p", dataset_id, BASE_MODEL)
    console = Console(record=True, width=120, file=io.StringIO())

    job_commands.job_details(job)(console)

    shown = console.export_text()
    assert "queued" in shown
    assert "adapter" not in shown
    assert "error" not in shown
