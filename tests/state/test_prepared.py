"""What goes to the driver directly is stored, and refused, as SQLAlchemy would do it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, bindparam, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from aiforge.state import engine
from aiforge.state.prepared import Prepared, PreparedQuery
from aiforge.state.schema import Json, Moment

things = Table(
    "things",
    MetaData(),
    Column("id", String(20), primary_key=True),
    Column("number", Integer),
    Column("at", Moment),
    Column("data", Json),
)
INSERT = Prepared(things.insert(), things.c.keys())
ADD = Prepared(
    things.update()
    .where(things.c.id == bindparam("its_id"))
    .values(number=things.c.number + bindparam("more"))
)

NUMBER = PreparedQuery(
    select(things.c.id, things.c.number).where(things.c.id == bindparam("its_id"))
)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    opened = engine.open_engine(database_url)
    with engine.transaction(opened, writes=True) as connection:
        things.create(connection)
        yield connection
    opened.dispose()


def rows(connection: Connection) -> list[dict[str, Any]]:
    found = connection.execute(select(things).order_by(things.c.id))
    return [dict(row._mapping) for row in found]


def test_values_are_converted_as_by_sqlalchemy(connection: Connection) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    one = {"number": 1, "at": moment, "data": {"käse": [1, None, "x'\"%s:y"], "n": 1.5}}
    INSERT(connection, {"id": "prepared", **one})
    connection.execute(things.insert(), {"id": "usual", **one})
    prepared, usual = rows(connection)
    assert prepared | {"id": ""} == usual | {"id": ""}
    assert prepared["at"] == moment.astimezone(UTC)


def test_what_is_not_given_is_null(connection: Connection) -> None:
    INSERT(connection, {"id": "a"})
    assert [(row["number"], row["at"]) for row in rows(connection)] == [(None, None)]


def test_it_tells_how_many_rows_it_changed(connection: Connection) -> None:
    INSERT(connection, {"id": "a", "number": 40})
    assert ADD(connection, {"its_id": "a", "more": 2}) == 1
    assert ADD(connection, {"its_id": "b", "more": 2}) == 0
    assert rows(connection)[0]["number"] == 42


def test_a_query_gives_one_row_or_none(connection: Connection) -> None:
    INSERT(connection, {"id": "a", "number": 40})
    INSERT(connection, {"id": "b"})
    found = [NUMBER(connection, {"its_id": name}) for name in ("a", "b", "c")]
    assert found == [("a", 40), ("b", None), None]


def test_an_error_is_of_sqlalchemys_class(database_url: str) -> None:
    opened = engine.open_engine(database_url)
    with engine.transaction(opened, writes=True) as connection:
        things.create(connection)
        INSERT(connection, {"id": "a"})
    missing = Prepared(text("DELETE FROM nowhere WHERE id = :id"))
    blind = PreparedQuery(select(Table("nowhere", MetaData(), Column("id", Integer)).c.id))
    with pytest.raises(IntegrityError), engine.transaction(opened, writes=True) as connection:
        INSERT(connection, {"id": "a"})
    with opened.connect() as connection:
        assert len(rows(connection)) == 1
        with pytest.raises((OperationalError, ProgrammingError)):
            missing(connection, {"id": "a"})
    opened.dispose()
    with opened.connect() as connection, pytest.raises((OperationalError, ProgrammingError)):
        blind(connection, {})
