"""What holds for every command, and the commands for exports, artifacts, the trail and watching."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from served import BASE_MODEL, EXPORTED_BYTES, World
from typer.testing import CliRunner, Result

from aiforge.api.examples import CHART
from aiforge.cli import watch as watching
from aiforge.cli.artifact import render
from aiforge.cli.board import Board, watch
from aiforge.cli.charts import bars
from aiforge.cli.main import app as commands
from aiforge.client import AIForge, AsyncAIForge
from aiforge.schemas.exports import ExportRequest
from aiforge.schemas.runs import Resources
from aiforge.services import artifacts
from aiforge.state import exports, runs

Run = Callable[..., Result]


def every_command(command: Any, path: tuple[str, ...] = ("aiforge",)) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from every_command(inner, (*path, name))


COMMANDS = dict(every_command(typer.main.get_command(commands)))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_json_and_an_example_of_itself(path: str) -> None:
    command = COMMANDS[path]
    options = {option for parameter in command.params for option in parameter.opts}

    assert {"--json", "--url"} <= options
    assert path in (command.epilog or ""), "its examples show another command"
    assert command.help


def test_the_nouns_are_these() -> None:
    nouns = {path.split()[1] for path in COMMANDS}

    assert nouns == {
        *("up", "restart", "down", "env", "status", "doctor", "demo", "train", "chat", "watch"),
        *("source", "dataset", "job", "model", "export", "artifact", "key", "audit"),
        *("webhook", "mission", "backup", "restore", "gc", "metrics"),
    }


def test_help_tells_of_completion_and_exit_status(run: Run) -> None:
    shown = run("--help").stdout

    assert "aiforge --install-completion" in shown
    for code in ("0  done", "1  refused", "2  the command line", "3  no server", "130  interrupt"):
        assert code in shown


def test_words_are_completed(run: Run) -> None:
    variables = {
        "_AIFORGE_COMPLETE": "complete_bash",
        "COMP_WORDS": "aiforge art",
        "COMP_CWORD": "1",
    }
    done = CliRunner().invoke(commands, [], env=variables, prog_name="aiforge")

    assert done.stdout.split() == ["artifact"]


@pytest.fixture
def job_id(
    forge: AIForge, world: World, make_repository: Callable[[Mapping[str, str]], Path]
) -> str:
    """A job that has completed."""
    source = forge.sources.create_git(str(make_repository({"a.py": "x = 1\n"})))
    world.finish(source.id)
    dataset = forge.datasets.generate("d", [source.id], base_model=BASE_MODEL)
    world.finish(dataset.id)
    job = forge.jobs.fine_tune("p", dataset.id, BASE_MODEL)
    world.finish(job.id)
    return job.id


def test_an_export_from_its_making_to_its_file(
    run: Run, world: World, job_id: str, tmp_path: Path
) -> None:
    with world.working():
        made = run("export", "create", job_id, "--quantization", "q8_0", "--json")
    assert made.exit_code == 0, made.output
    export_id = json.loads(made.stdout)["exportId"]
    other = world.services.state.call_sync(
        exports.create, job_id, ExportRequest(quantization="f16"), Resources()
    )

    listed = run("export", "list", job_id)
    shown = run("export", "show", job_id, export_id)
    saved = run("export", "download", job_id, export_id, "-o", str(tmp_path / "m.gguf"), "--json")

    assert export_id in listed.stdout
    assert "q8_0" in listed.stdout
    assert "model.gguf" in shown.stdout
    assert saved.exit_code == 0, saved.output
    assert json.loads(saved.stdout) == {"path": str(tmp_path / "m.gguf"), "size": 10}
    assert (tmp_path / "m.gguf").read_bytes() == EXPORTED_BYTES
    assert run("export", "show", job_id, "export-none").exit_code == 1
    cancelled = run("export", "cancel", job_id, other.export_id)
    assert f"{other.export_id}: Export cancelled" in cancelled.stdout
    late = run("export", "cancel", job_id, export_id)
    assert (late.exit_code, "already completed" in late.stderr) == (1, True)
    assert f"{export_id}: Deleted" in run("export", "delete", job_id, export_id).stdout
    assert run("export", "show", job_id, export_id).exit_code == 1


def test_a_job_is_measured_again_with_as_much_exam_as_is_wanted(
    run: Run, world: World, job_id: str
) -> None:
    world.finish(job_id)

    with world.working():
        measured = run("job", "validate", job_id, "--exam-items", "3", "--json")
    shown = run("job", "validate", job_id, "--show")

    assert measured.exit_code == 0, measured.output
    found = json.loads(measured.stdout)
    spec = world.services.state.call_sync(runs.get, found["runId"]).spec
    assert (found["passed"], spec["examItems"]) == (True, 3)
    assert "gate" in shown.stdout
    assert run("job", "validate", job_id, "--exam-items", "201").exit_code == 2


def keep(world: World, type: Any, name: str, content: bytes, mime: str) -> str:
    services = world.services
    kept = artifacts.keep(services.state, services.storage, "mission-1", type, name, content, mime)
    return kept.id


def test_artifacts_are_shown_and_saved(run: Run, world: World, tmp_path: Path) -> None:
    chart = keep(world, "chart", "Trend", json.dumps(CHART).encode(), "application/json")
    report = keep(world, "report", "Report", b"# What\n\n- one\n", "text/markdown")
    log = keep(world, "log", "Log", b"[bold]line[/nothing]\n", "text/plain")
    file = keep(world, "file", "x.bin", b"\0\1", "application/octet-stream")

    listed = run("artifact", "list", "--about", "mission-1", "--json")
    assert {entry["id"] for entry in json.loads(listed.stdout)} == {chart, report, log, file}
    assert "█" in run("artifact", "show", chart).stdout
    assert "• one" in run("artifact", "show", report).stdout
    assert "[bold]line[/nothing]" in run("artifact", "show", log).stdout
    assert f"artifact save {file}" in run("artifact", "show", file).stdout
    whole = json.loads(run("artifact", "show", chart, "--json").stdout)
    assert (whole["content"], whole["artifact"]["id"]) == (CHART, chart)
    saved = run("artifact", "save", chart, "--output", str(tmp_path))
    assert saved.exit_code == 0, saved.output
    assert Path(saved.stdout.splitlines()[-1]) == tmp_path / "Trend.vl.json"
    assert json.loads((tmp_path / "Trend.vl.json").read_text()) == CHART


def test_names_of_a_chart_are_no_markup() -> None:
    console = Console(file=io.StringIO(), width=200)
    rows = [{"k": "[/]x[red]", "v": 1}, {"k": "b", "v": None}]
    encoding = {"y": {"field": "k", "type": "nominal"}, "x": {"field": "v", "type": "quantitative"}}

    bars({"title": "[/oops]", "data": {"values": rows}, "encoding": encoding})(console)
    render(console, "report", "[/name]", b"text")

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[/oops]" in shown
    assert "[/]x[red]" in shown
    assert "[/name]" in shown


def test_the_trail_is_listed(run: Run, job_id: str) -> None:
    listed = run("audit", "list", "--resource", job_id, "--json")
    shown = run("audit", "list", "--since", "2020-01-31")

    assert listed.exit_code == 0, listed.output
    assert all(job_id in entry["resourceIds"] for entry in json.loads(listed.stdout))
    assert "WHO" in shown.stdout
    assert json.loads(run("audit", "list", "--since", "2999-01-01", "--json").stdout) == []


def test_what_goes_on_is_printed_once(run: Run, forge: AIForge, world: World, job_id: str) -> None:
    dataset_id = forge.jobs.get(job_id).dataset_id
    waiting = forge.jobs.fine_tune("q", dataset_id, BASE_MODEL)
    running = forge.jobs.fine_tune("r", dataset_id, BASE_MODEL)
    world.report(world.start(running.id), 1, 2)

    found = json.loads(run("watch", "--once", "--json").stdout)
    shown = run("watch", "--once").stdout

    assert {job["id"]: job["status"] for job in found["jobs"]} == {
        waiting.id: "queued",
        running.id: "running",
    }
    assert found["missions"] == []
    assert "step 2/3" in shown
    assert waiting.id in shown


def test_the_board_follows_the_events(
    server: str, forge: AIForge, world: World, job_id: str
) -> None:
    """A job is seen from the queue to its end."""
    dataset_id = forge.jobs.get(job_id).dataset_id
    job = forge.jobs.fine_tune("q", dataset_id, BASE_MODEL)
    seen: list[tuple[str, float]] = []
    steps = iter([lambda: world.start(job.id), lambda: advance(world, job.id), lambda: end()])

    def advance(world: World, job_id: str) -> None:
        world.report(world.run_of(job_id), 1)

    def end() -> None:
        world.complete(world.run_of(job.id))

    class Enough(Exception):
        pass

    def show(board: Board) -> None:
        console = Console(file=io.StringIO(), width=160)
        console.print(watching.view(board))
        shown = board.jobs.get(job.id)
        state = (str(shown.status), round(shown.progress)) if shown else ("gone", 100)
        if seen and seen[-1] == state:
            return
        seen.append(state)
        if state[0] == "gone":
            assert [event.type for event in board.events][-1].startswith(("job.", "run.", "model."))
            raise Enough
        next(steps)()

    async def look() -> None:
        async with AsyncAIForge(server) as client:
            await asyncio.wait_for(watch(client, show), 30)

    with pytest.raises(Enough):
        asyncio.run(look())
    assert seen == [("queued", 0), ("running", 0), ("running", 33), ("gone", 100)]


def test_one_resource_may_be_worked_on_in_two_ways() -> None:
    from aiforge.schemas.common import utc_now
    from aiforge.schemas.runs import Event

    def told(status: str, kind: str) -> Event:
        data = {"kind": kind, "resourceId": "job-1", "attempt": 1}
        return Event(sequence=1, at=utc_now(), type=f"run.{status}", resource_id="run-1", data=data)

    board = Board()
    events = [("queued", "export"), ("running", "validate"), ("completed", "export")]
    for status, kind in events:
        asyncio.run(board.take(None, told(status, kind)))  # type: ignore[arg-type]

    (left,) = board.runs.values()
    assert (left.kind, left.resource_id, left.status) == ("validate", "job-1", "running")
    assert "validate" in json.dumps(watching.as_json(board))
