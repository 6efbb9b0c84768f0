"""Log lines: their form, their ids, and what never stands in them."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiforge import logs, redaction
from aiforge.settings import Settings

log = logging.getLogger("aiforge.some.part")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """This process logs again as it did."""
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    handlers, level = list(root.handlers), logging.getLogger("aiforge").level
    yield
    logs.name_process()
    root.handlers[:] = handlers
    logging.getLogger("aiforge").setLevel(level)
    logging.setLogRecordFactory(factory)


@pytest.fixture
def lines(settings: Settings) -> Lines:
    """What stands in the file, each line parsed."""
    return lambda: [json.loads(line) for line in (settings.home / logs.FILE).open()]


def test_a_line_says_when_where_and_about_what(settings: Settings, lines: Lines) -> None:
    logs.install(settings, "driver")
    logs.name_process(run="job-1", request="req-1")
    with logs.about(attempt=2):
        log.warning("It took %d s", 3)
    log.info("after")

    first, second = lines()
    assert first["at"].endswith("Z")
    assert (
        first.items()
        >= {
            "level": "warning",
            "component": "driver",
            "logger": "aiforge.some.part",
            "message": "It took 3 s",
            "run": "job-1",
            "request": "req-1",
            "attempt": 2,
        }.items()
    )
    assert "attempt" not in second
    assert (settings.home / logs.FILE).stat().st_mode & 0o077 == 0


def test_lines_go_to_the_process_s_own_stderr(settings: Settings) -> None:
    """In a replica they do not pass through the logger that Ray Serve puts in its place."""
    code = """
import logging, sys
from ray.serve._private.logging_utils import StreamToLogger
from aiforge import logs
from aiforge.settings import Settings

told = []
serve = logging.getLogger("serve")
serve.handle = told.append
sys.stderr = StreamToLogger(serve, logging.INFO, sys.stderr)
logs.install(Settings(home=sys.argv[1]), "api")
logging.getLogger("aiforge.some.part").warning("here")
print(len(told))
"""
    command = [sys.executable, "-c", code, str(settings.home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1])["message"] == "here"
    assert done.stdout.split() == ["0"]


def test_a_line_is_made_once_for_both_places(settings: Settings, lines: Lines) -> None:
    logging.getLogger().handlers.clear()
    logs.install(settings, "api")
    texts: list[int] = []

    class Told:
        def __str__(self) -> str:
            texts.append(1)
            return "it"

    log.warning("about %s", Told())
    assert [line["message"] for line in lines()] == ["about it"]
    assert len(texts) == 1


def test_a_process_that_works_for_another_carries_its_ids(settings: Settings, lines: Lines) -> None:
    logs.install(settings, "driver")
    logs.name_process(run="job-1", request="req-1")
    given = pickle.loads(pickle.dumps(logs.handover()))
    logs.name_process()

    given.take_up("train", rank=1)
    log.info("begins")
    logs.Handover(None, {"run": "job-2"}).take_up("train")
    log.info("of another run")

    first, second = lines()
    assert first.items() >= {"component": "train", "run": "job-1", "request": "req-1"}.items()
    assert (first["rank"], second["run"], "request" in second) == (1, "job-2", False)


def test_quiet_by_default_and_as_loud_as_asked(tmp_path: Path, lines: Lines) -> None:
    logs.install(Settings(home=tmp_path), "api")
    log.debug("not this")
    library = logging.getLogger("some.library")
    library.setLevel(logging.INFO)
    library.info("nor this")
    logging.getLogger("some.library").warning("but this")
    logs.install(Settings(home=tmp_path, log_level="debug"), "api")
    log.debug("and this")

    assert [line["message"] for line in lines()] == ["but this", "and this"]
    with pytest.raises(ValidationError):
        Settings(home=tmp_path, log_level="loud")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_form_can_be_chosen(tmp_path: Path, form: Any) -> None:
    logs.install(Settings(home=tmp_path, log_format=form), "api")
    with logs.about(run="job-1"):
        log.info("told")

    written = (tmp_path / logs.FILE).read_text()
    assert written.startswith("{") == (form == "json")
    assert "told" in written
    assert "job-1" in written


def test_no_secret_in_message_fields_or_trace(settings: Settings, lines: Lines) -> None:
    secret = "plant-0123456789abcdef"
    logs.install(settings, "api")
    redaction.learn([secret])
    try:
        raise ValueError(f"with {secret}")
    except ValueError:
        with logs.about(run=f"x{secret}"):
            log.exception("cannot read https://me:%s@host/x", secret)

    assert secret not in (settings.home / logs.FILE).read_text()
    assert "ValueError" in lines()[0]["trace"]


@given(st.text(min_size=1), st.sampled_from(["json", "text"]))
def test_no_message_makes_two_lines_of_one(message: str, form: Any) -> None:
    setup = logs.Setup("api", "info", form, False, None)
    formatter = logs._formatter(setup, sys.stdout)
    record = logging.makeLogRecord({"msg": "%s", "args": (message,), "levelname": "INFO"})

    assert len(formatter.format(record).splitlines()) == 1


WRITER = """
import logging, sys
from pathlib import Path
from aiforge import logs
from aiforge.settings import Settings
logs.install(Settings(home=Path(sys.argv[1])), "test")
logs.name_process(writer=sys.argv[2])
for number in range(300):
    logging.getLogger("aiforge").info("%s %s", number, "x" * 9000)
"""


def test_many_processes_write_whole_lines_and_notice_that_the_file_was_put_aside(
    tmp_path: Path,
) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(index)], stderr=subprocess.DEVNULL
        )
        for index in range(3)
    ]
    turned = False
    while any(writer.poll() is None for writer in writers):
        turned = turned or logs.rotate(tmp_path, 1_000_000)

    path = tmp_path / logs.FILE
    written = [
        json.loads(line)
        for file in (path.with_suffix(".log.1"), path)
        for line in file.read_text().splitlines()
    ]
    assert turned
    assert all(writer.returncode == 0 for writer in writers)
    found = sorted((line["writer"], int(line["message"].split()[0])) for line in written)
    assert found == [(str(writer), number) for writer in range(3) for number in range(300)]


def test_where_no_file_can_be_made_stderr_remains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    logs.install(Settings(home=blocked), "train")
    log.info("still said")

    assert json.loads(capsys.readouterr().err)["message"] == "still said"


def test_a_command_says_warnings_unless_more_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.to_terminal(Settings(home=tmp_path))
    log.info("not this")
    log.warning("this")
    monkeypatch.setenv("AIFORGE_LOG_LEVEL", "info")
    logs.to_terminal(Settings(home=tmp_path))
    log.info("and this")

    said = capsys.readouterr().err
    assert [json.loads(line)["message"] for line in said.splitlines()] == ["this", "and this"]
    assert not (tmp_path / logs.FILE).exists()
