"""Texts that try to steer the terminal, in every place where a command shows one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from served import BASE_MODEL, World, add_dataset
from typer.testing import Result

from aiforge.cli.output import printable
from aiforge.cli.terminal import Terminal
from aiforge.client import AIForge

Run = Callable[..., Result]

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b6n\rno\x08 \x7f\u202eevil\u2066 é 漢 :bug:"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def job_id(forge: AIForge, world: World, api: object, make_repository: object) -> str:
    """A job that failed, with a hostile log and error."""
    dataset_id = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))  # type: ignore
    job = forge.jobs.fine_tune("p", dataset_id, BASE_MODEL)
    started = world.start(job.id)
    world.report(started, 1, log=HOSTILE)
    world.fail(started, HOSTILE, "broken")
    return job.id


def test_every_view_of_a_job_shows_pictures_of_what_would_steer(run: Run, job_id: str) -> None:
    views = [
        run("job", "logs", job_id),
        run("job", "show", job_id),
        run("job", "follow", job_id, "--logs"),
    ]

    for view in views:
        shown = view.stdout + view.stderr
        assert not STEERING.search(shown), ascii(shown)
        assert "␛]0;owned␇␛[2J" in shown
        assert "é 漢 :bug:" in shown


def test_json_keeps_the_log_as_it_is(run: Run, job_id: str) -> None:
    logs = json.loads(run("job", "logs", job_id, "--json").stdout)["logs"]

    assert any(HOSTILE in line for line in logs)


def test_tabs_and_line_breaks_stay() -> None:
    assert printable("a\tb\nc") == "a\tb\nc"


def test_a_terminal_keeps_its_own_colours_and_moves() -> None:
    terminal = Terminal(force_terminal=True, color_system="standard", width=80)
    with terminal.capture() as capture:
        terminal.print("[red]x\x1b[2J[/]", highlight=False)
        terminal.show_cursor(False)

    assert capture.get() == "\x1b[31mx␛[2J\x1b[0m\n\x1b[?25l"
