"""What the runbook tells people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from aiforge.cli.main import app

CLUSTERS = Path(__file__).parents[2] / "clusters"
ROOT = typer.main.get_command(app)
COMMANDS = [
    (name, command.strip())
    for name in ("RUNBOOK.md", "README.md", "METRICS.md")
    for span in re.findall(r"`(aiforge [^`]*)`", (CLUSTERS / name).read_text())
    for command in span.split("&&")
]


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what is left of them."""
    found: Any = ROOT
    while hasattr(found, "commands"):
        assert words, f"{found.name} is a group"
        assert words[0] in found.commands, f"there is no {words[0]}"
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_that_is_named_exists_with_its_options(page: str, command: str) -> None:
    found, rest = leaf(shlex.split(command)[1:])
    options = {option for parameter in found.params for option in parameter.opts}

    assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= options


def test_the_runbook_names_commands_and_a_wrong_one_would_be_found() -> None:
    assert sum(page == "RUNBOOK.md" for page, _ in COMMANDS) >= 8
    with pytest.raises(AssertionError, match="no lst"):
        leaf(["job", "lst"])
