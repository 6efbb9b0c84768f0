"""The doctor names what is missing and the remedy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from aiforge.cli.doctor import Check, examine, passed
from aiforge.settings import Settings


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_this_machine_can_do_the_main_job(tmp_path: Path) -> None:
    checks = examine(Settings(home=tmp_path, port=1))

    assert named(checks, "Platform packages").verdict == "ok"
    assert named(checks, "git").verdict == "ok"
    assert all(check.remedy for check in checks if check.verdict != "ok")


def test_a_missing_program_fails_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    checks = examine(Settings(home=tmp_path, port=1))

    assert not passed(checks)
    assert "apt-get install git" in named(checks, "git").remedy


def test_a_port_that_something_else_has_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        checks = examine(Settings(home=tmp_path, port=server.getsockname()[1]))

    assert named(checks, "API").verdict == "missing"
    assert "--port" in named(checks, "API").remedy


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:hidden@127.0.0.1:1/x"

    checks = examine(Settings(home=tmp_path, port=1, database_url=url))

    database = named(checks, "Database")
    assert database.verdict == "missing"
    assert "hidden" not in database.found + database.remedy


def test_the_sandbox_that_holds_is_named(tmp_path: Path) -> None:
    check = named(examine(Settings(home=tmp_path, port=1)), "Sandbox")

    assert check.verdict == "ok" or "bubblewrap" in check.remedy
    assert check.found
