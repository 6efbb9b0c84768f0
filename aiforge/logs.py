"""What the platform's processes log: one line per event, with the ids of the run and the request.

Every process calls ``install`` once. A line goes to the process's stderr, which Ray keeps per
process while the cluster lives, and to ``<home>/logs/aiforge.log``, where all processes of a
machine meet. Processes that are started for a run take ``handover()`` along.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

from aiforge import redaction
from aiforge.settings import LogFormat, Settings

FILE = "logs/aiforge.log"
"""Below the home directory."""

MOST_BYTES = 64 << 20
"""Size at which the file is put aside; as many again are kept, in one older file."""

LONGEST = 16_384
"""Characters of a message, and of a trace."""

_MADE = "aiforge_line"
"""Attribute of a record that keeps its line."""

_bound: ContextVar[Mapping[str, Any] | None] = ContextVar("aiforge_log_fields", default=None)
_of_process: dict[str, Any] = {}
_setup: Setup | None = None

# What could forge a line of its own where lines are plain text.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    ord("\n"): "\\n",
    ord("\t"): "\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


@dataclass(frozen=True)
class Setup:
    """How a process logs; picklable.

    ``format`` is ``None`` where it follows from the place: text on a development terminal, JSON
    anywhere else.
    """

    component: str
    level: str
    format: LogFormat | None
    development: bool
    file: str | None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, settings: Settings, component: str) -> Setup:
        """What the settings say, for a part of the platform."""
        return cls(
            component,
            settings.log_level,
            settings.log_format,
            settings.env == "development",
            str(settings.home / FILE),
            tuple(settings.secrets),
        )


@dataclass(frozen=True)
class Handover:
    """What a process that works for this one needs to log about the same run; picklable."""

    setup: Setup | None
    fields: Mapping[str, Any]

    def take_up(self, component: str, **fields: Any) -> None:
        """Log in this process as the other one does, until another handover is taken up."""
        if self.setup is not None:
            _install(Setup(**{**vars(self.setup), "component": component}))
        name_process(**{**self.fields, **fields})


def install(settings: Settings, component: str) -> None:
    """Have this process log, without secrets, as the settings say.

    Args:
        component: Which part of the platform it is; ``component`` in each line.
    """
    _install(Setup.of(settings, component))


def to_terminal(settings: Settings) -> None:
    """Have a command log to its stderr: warnings, or what ``AIFORGE_LOG_LEVEL`` asks for."""
    level = settings.log_level if "log_level" in settings.model_fields_set else "warning"
    setup = Setup.of(settings, "cli")
    _install(Setup(**{**vars(setup), "level": level, "file": None}))


def _install(setup: Setup) -> None:
    global _setup
    redaction.install()
    redaction.learn(setup.secrets)
    _setup = setup
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Line)]:
        root.removeHandler(handler)
        handler.close()
    for added in _handlers(setup):
        added.setFormatter(_formatter(setup, added.stream))
        added.addFilter(_is_told)
        root.addHandler(added)
    logging.getLogger("aiforge").setLevel(setup.level.upper())


def _handlers(setup: Setup) -> Iterator[_Stream | _File]:
    yield _Stream(_own_stderr())
    if setup.file is not None:
        # Where there is no such directory and none can be made, Ray's own files remain.
        with suppress(OSError):
            Path(setup.file).parent.mkdir(parents=True, exist_ok=True)
            yield _File(setup.file, encoding="utf-8")


def _own_stderr() -> TextIO:
    """The process's stderr, also where a library put a logger of its own in its place.

    Ray Serve does so in its replicas, and looks up the source line of every frame of the stack
    for each line that is written: with what it writes then, a fifth of what a POST costs.
    """
    if isinstance(sys.stderr, io.TextIOBase) or sys.__stderr__ is None:
        return sys.stderr
    return sys.__stderr__


def name_process(**fields: Any) -> None:
    """Have every line of this process from now on carry these fields and no others."""
    _of_process.clear()
    _of_process.update(fields)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Have the lines of this task or thread carry these fields for a while."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def fields_now() -> dict[str, Any]:
    """What a line that is logged here carries."""
    return {**_of_process, **(_bound.get() or {})}


def handover() -> Handover:
    """What another process needs to log about what this one is at work on."""
    return Handover(_setup, fields_now())


def rotate(home: Path, most_bytes: int = MOST_BYTES) -> bool:
    """Put the file aside where it has grown too large; whoever writes to it notices by itself."""
    path = home / FILE
    with suppress(OSError):
        if path.stat().st_size > most_bytes:
            path.replace(path.with_suffix(".log.1"))
            return True
    return False


class _Line:
    """Marks the handlers of this module."""


class _Stream(logging.StreamHandler[TextIO], _Line):
    """To the process's stderr."""


class _File(WatchedFileHandler, _Line):
    """To a file that many processes write to: each line is one write at the file's end."""

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.reopenIfNeeded()
            assert self.stream is not None
            os.write(self.stream.fileno(), f"{self.format(record)}\n".encode(errors="replace"))
        except Exception:
            self.handleError(record)


def _is_told(record: logging.LogRecord) -> bool:
    """Of libraries, whatever level they have set for themselves, their warnings."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "aiforge"


def _formatter(setup: Setup, stream: Any) -> logging.Formatter:
    on_terminal = setup.development and stream is sys.stderr and stream.isatty()
    wanted = setup.format or ("text" if on_terminal else "json")
    return _Text() if wanted == "text" else _Json(setup.component)


class _Json(logging.Formatter):
    """One JSON object per line."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII, so that no character of a message can end it.

        It is made once for both handlers: looking for secrets is most of the work.
        """
        made: str | None = getattr(record, _MADE, None)
        if made is None:
            made = self._made(record)
            setattr(record, _MADE, made)
        return made

    def _made(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": self._component,
            "logger": record.name,
            "message": record.getMessage()[:LONGEST],
            **redaction.redact_all(fields_now()),
            "pid": record.process,
        }
        if trace := _trace(record):
            line["trace"] = trace
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    """For people: time, level, message and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a trace follows in lines of its own."""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        told = redaction.redact_all(fields_now())
        pairs = "".join(f" {name}={value}" for name, value in told.items())
        line = f"{at} {record.levelname:<7} {record.getMessage()[:LONGEST]}{pairs}"
        trace = _trace(record)
        return line.translate(_CONTROL) + (f"\n{trace}" if trace else "")


def _trace(record: logging.LogRecord) -> str | None:
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return redaction.redact(record.exc_text)[-LONGEST:] if record.exc_text else None
