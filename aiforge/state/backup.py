"""The whole state to a file and back, on either database, from one to the other too.

Tables are taken as the database has them, so that a backup needs no model of older revisions: it
is restored into tables of its own revision, which the migrations then bring up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    cast,
    insert,
    inspect,
    literal_column,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from aiforge.errors import Conflict, Unavailable
from aiforge.schemas.common import Wire
from aiforge.state import backup_file, engine, migrate
from aiforge.state.backup_file import Category, Header, TableHead
from aiforge.state.schema import Moment, now

BATCH = 500


class Summary(Wire):
    """What a backup holds."""

    revision: str
    """Of the tables in the file."""

    tables: int
    rows: int
    made_at: datetime


def back_up(url: str, path: Path) -> Summary:
    """Write the state to a file, all of it as it is at one moment; the platform may run.

    Raises:
        Unavailable: There is no state, or its database does not answer.
        InvalidInput: The file cannot be written.
    """
    source = engine.open_engine(url, reads_only=True)
    try:
        if source.dialect.name == "postgresql":
            source = source.execution_options(isolation_level="REPEATABLE READ")
        with engine.transaction(source, writes=False) as connection:
            revision = migrate.revision_of(connection)
            if revision is None:
                raise Unavailable(
                    "There is no state to back up yet; AIFORGE_HOME or AIFORGE_DATABASE_URL may "
                    "name another place.",
                    code="state_missing",
                )
            tables = _tables(connection)
            header = Header(
                format="aiforge-state",
                version=1,
                revision=revision,
                made_at=now(),
                counters=dict(_counters(connection, tables)),
            )
            with backup_file.writing(path) as file:
                file.head(header)
                for table in tables:
                    _write_table(connection, table, file)
    finally:
        source.dispose()
    return Summary(revision=revision, tables=len(tables), rows=file.rows, made_at=header.made_at)


def restore(url: str, path: Path, *, replace: bool = False) -> Summary:
    """Make the state what a file says, in one transaction; the platform must not run.

    Args:
        replace: Give up what the state holds now.

    Raises:
        InvalidInput: The file is no whole backup.
        Conflict: There is a state already, or the file is of a newer version of AI Forge.
        Unavailable: The database does not answer.
    """
    header = backup_file.verified(path)
    if header.revision > migrate.newest():
        raise Conflict(
            f"{path} is of a newer version of AI Forge (tables of revision {header.revision}, "
            f"here {migrate.newest()}); upgrade AI Forge and restore then.",
            code="backup_too_new",
        )
    target = engine.open_engine(url)
    try:
        with engine.transaction(target, writes=True) as connection:
            _make_room(connection, replace=replace)
            migrate.migrate(connection, header.revision)
            tables, rows = _read_tables(connection, path)
            _set_counters(connection, header.counters)
            migrate.migrate(connection)
    finally:
        target.dispose()
    return Summary(revision=header.revision, tables=tables, rows=rows, made_at=header.made_at)


def _tables(connection: Connection) -> list[Table]:
    """The tables of the state, those that others refer to first."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _make_room(connection: Connection, *, replace: bool) -> None:
    tables = _tables(connection)
    filled = [
        table.name
        for table in tables
        if connection.execute(select(literal_column("1")).select_from(table).limit(1)).first()
    ]
    if filled and not replace:
        raise Conflict(
            f"The state is not empty (there are rows in {', '.join(sorted(filled)[:4])}); "
            "back it up first, then restore with --replace.",
            code="state_not_empty",
        )
    for table in reversed(tables):
        table.drop(connection)
    connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    if connection.dialect.name == "postgresql":
        # The trigger went with its table, its function did not.
        connection.execute(text("DROP FUNCTION IF EXISTS audit_is_append_only"))


def _category(kind: TypeEngine[Any]) -> Category:
    if isinstance(kind, JSON):
        return "json"
    if isinstance(kind, DateTime):
        return "moment"
    return "boolean" if isinstance(kind, Boolean) else "plain"


def _write_table(connection: Connection, table: Table, file: backup_file.Writer) -> None:
    columns = {column.name: _category(column.type) for column in table.columns}
    file.head(TableHead(table=table.name, columns=columns))
    query = select(*map(_readable, table.columns)).order_by(*table.primary_key)
    with connection.execution_options(yield_per=BATCH).execute(query) as rows:
        for row in rows:
            file.row([_plain(value) for value in row])


def _readable(column: Column[Any]) -> ColumnElement[Any]:
    match _category(column.type):
        case "json":
            # A JSON null and no value at all are the same to Python, so JSON stays text.
            return cast(column, Text).label(column.name)
        case "moment":
            return type_coerce(column, Moment()).label(column.name)
        case _:
            return column


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


class _JsonText(TypeDecorator[str]):
    """JSON that is text already."""

    impl = Text
    cache_ok = True

    def __init__(self, is_postgres: bool) -> None:
        super().__init__()
        self.is_postgres = is_postgres

    def bind_expression(self, bindparam: Any) -> Any:
        return cast(bindparam, JSONB()) if self.is_postgres else bindparam


def _read_tables(connection: Connection, path: Path) -> tuple[int, int]:
    targets = {table.name: table for table in _tables(connection)}
    heads: list[TableHead] = []
    batch: list[list[Any]] = []
    rows = 0
    for part in backup_file.parts(path):
        if isinstance(part, TableHead) or len(batch) == BATCH:
            _insert(connection, targets, heads, batch)
            batch = []
        if isinstance(part, TableHead):
            heads.append(part)
        else:
            batch.append(part)
            rows += 1
    _insert(connection, targets, heads, batch)
    return len(heads), rows


def _insert(
    connection: Connection,
    targets: dict[str, Table],
    heads: list[TableHead],
    batch: list[list[Any]],
) -> None:
    """Insert rows of the table whose head was read last."""
    if not batch:
        return
    head = heads[-1]
    as_json = _JsonText(connection.dialect.name == "postgresql")
    own: dict[Category, TypeEngine[Any]] = {"json": as_json, "moment": Moment()}
    reflected = targets[head.table].columns
    columns = [
        Column(name, own.get(kind, reflected[name].type)) for name, kind in head.columns.items()
    ]
    moments = [index for index, kind in enumerate(head.columns.values()) if kind == "moment"]
    for row in batch:
        for index in moments:
            row[index] = row[index] and datetime.fromisoformat(row[index])
    values = [dict(zip(head.columns, row, strict=True)) for row in batch]
    connection.execute(insert(Table(head.table, MetaData(), *columns)), values)


def _counters(connection: Connection, tables: list[Table]) -> Iterator[tuple[str, int]]:
    """The last number that each automatic key gave out: a number of a deleted row never returns."""
    if connection.dialect.name == "sqlite":
        if inspect(connection).has_table("sqlite_sequence"):
            for row in connection.execute(text("SELECT name, seq FROM sqlite_sequence")):
                yield row.name, row.seq
        return
    for table, sequence in _sequences(connection, tables):
        query = text("SELECT pg_sequence_last_value(CAST(:of AS regclass))")
        yield table.name, connection.execute(query, {"of": sequence}).scalar() or 0


def _set_counters(connection: Connection, counters: dict[str, int]) -> None:
    if connection.dialect.name == "sqlite":
        for name, last in counters.items():
            given = {"name": name, "last": last}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), given)
            connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :last)"), given)
        return
    for table, sequence in _sequences(connection, _tables(connection)):
        if reached := counters.get(table.name):
            given = {"of": sequence, "last": reached}
            connection.execute(text("SELECT setval(CAST(:of AS regclass), :last)"), given)


def _sequences(connection: Connection, tables: list[Table]) -> Iterator[tuple[Table, str]]:
    for table in tables:
        for column in table.primary_key:
            query = text("SELECT pg_get_serial_sequence(:table, :column)")
            given = {"table": table.name, "column": column.name}
            if sequence := connection.execute(query, given).scalar():
                yield table, sequence
