"""Connections to SQLite or PostgreSQL, with the guarantees that the platform relies on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InterfaceError, OperationalError

from aiforge.errors import AIForgeError, InvalidInput, Unavailable

BUSY_SECONDS = 30
READER_BUSY_SECONDS = 2
"""A reader waits only while the log of a writer that crashed is recovered."""
BUSY_PAUSE_SECONDS = 0.01
WRITER_LOCK = 0x61_69_66_6F_72_67_65
"""Key of PostgreSQL's advisory lock that lets one writer in at a time, as SQLite does."""

_WRITES = "aiforge_writes"


def open_engine(url: str, *, reads_only: bool = False) -> Engine:
    """An engine whose acknowledged commits survive a crash of the process or the machine.

    Args:
        url: A SQLAlchemy URL: ``sqlite:///path`` or ``postgresql://…``.
        reads_only: Refuse every change; a SQLite file is not made where there is none.

    Raises:
        InvalidInput: The URL names no database that the platform can use.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput(
            f"{url!r} is no database URL; use sqlite:///path or postgresql://user@host/name.",
            code="database_url_invalid",
        ) from error
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed, reads_only)
        case "postgresql":
            options = "-c default_transaction_read_only=on" if reads_only else ""
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                json_deserializer=from_json,
                connect_args={"connect_timeout": 5, "options": options},
            )
    raise InvalidInput(
        f"{parsed.get_backend_name()} is not supported; use SQLite or PostgreSQL.",
        code="database_url_invalid",
    )


def _open_sqlite(url: URL, reads_only: bool) -> Engine:
    database = url.database
    if not database or database == ":memory:":
        raise InvalidInput(
            "State lives in a file; name one as sqlite:////path/to/aiforge.db.",
            code="database_url_invalid",
        )
    if reads_only:
        file = f"file:{quote(database)}"
        url = url.set(database=file).update_query_dict({"mode": "rw", "uri": "true"})
    else:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    seconds = READER_BUSY_SECONDS if reads_only else BUSY_SECONDS
    engine = create_engine(url, connect_args={"timeout": seconds}, json_deserializer=from_json)
    pragmas = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"]
    if reads_only:
        pragmas = ["query_only=ON"]

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver's own transaction control begins late and deferred, which ends in
        # "database is locked" when a reader turns writer; BEGIN is emitted below instead.
        connection.isolation_level = None
        for pragma in pragmas:
            _set(connection, pragma, seconds)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        statement = "BEGIN IMMEDIATE" if writes else "BEGIN"
        try:
            connection.connection.cursor().execute(statement)
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                statement, (), error, sqlite3.Error, dialect=connection.dialect
            ) from error

    return engine


def _set(connection: sqlite3.Connection, pragma: str, seconds: float) -> None:
    """Carry out a PRAGMA; one that finds the file locked is tried again for so many seconds.

    SQLite itself does not wait where two connections turn a new file to its log at once: one of
    them is refused in the same moment.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back on any error.

    A write transaction excludes every other one from its beginning.

    Raises:
        InvalidInput: A value cannot be stored as text.
        Unavailable: The database does not answer or cannot be written to.
    """
    with _translated(), engine.connect() as connection:
        connection = connection.execution_options(**{_WRITES: writes})
        with connection.begin():
            if writes and connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
            yield connection


class WriteTransactions:
    """The write transactions of a process that makes one at a time.

    To a file they go through one connection that stays open: making one ready and putting it back
    costs a fifth of a small write. A server may have closed one in the meantime, so there each is
    looked at first, as ``transaction`` does.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_file = engine.dialect.name == "sqlite"
        self._kept: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction; as ``transaction``."""
        if not self._is_file:
            with transaction(self._engine, writes=True) as connection:
                yield connection
            return
        try:
            with _translated():
                if self._kept is None:
                    self._kept = self._engine.connect().execution_options(**{_WRITES: True})
                with self._kept.begin():
                    yield self._kept
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        """Close what was kept; the next transaction opens it again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.invalidate()
            kept.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(error) from error
    except (DataError, UnicodeEncodeError) as error:
        raise InvalidInput(
            "A value holds characters that are no text; remove NUL and lone surrogates."
        ) from error


def _unavailable(error: DBAPIError) -> AIForgeError:
    reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    if "disk is full" in reason or "No space left" in reason:
        return Unavailable(
            "No space is left for the database; free some under the platform's home.",
            code="disk_full",
            retryAfter=30,
        )
    return Unavailable(
        f"The database does not answer ({reason}); it is tried again.",
        code="state_unavailable",
        retryAfter=5,
    )
