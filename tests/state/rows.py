"""Rows for tables as a database has them, whatever revision they are of."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    insert,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
JSONS: list[Any] = [{}, {"a": [1, 2.5, None], "é": "x"}, [], ["b"], {"deep": {"er": True}}]


def reflected(connection: Connection) -> list[Table]:
    """The tables, those that others refer to first."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def fill(connection: Connection, rows: int, first: int = 0) -> None:
    """Put rows into every table; their keys are numbered from ``first``."""
    dice = random.Random(first)
    for table in reflected(connection):
        made = [
            {
                column.name: _value(connection, column, number, dice)
                for column in table.columns
                if not _is_numbered(column)
            }
            for number in range(first, first + rows)
        ]
        connection.execute(insert(table), made)


def _is_numbered(column: Column[Any]) -> bool:
    """Whether the database gives out its values."""
    return len(column.table.primary_key) == 1 and column.primary_key and column.name == "sequence"


def _value(connection: Connection, column: Column[Any], number: int, dice: random.Random) -> Any:
    keys = list(column.foreign_keys)
    if keys:
        # The n-th row refers to the n-th: keys that are unique stay so.
        return _value(connection, keys[0].column, number, dice)
    kind = column.type
    if isinstance(kind, JSON):
        return dice.choice(JSONS)
    if isinstance(kind, DateTime):
        moment = BEGIN + timedelta(seconds=number, milliseconds=123)
        return moment if connection.dialect.name == "postgresql" else moment.replace(tzinfo=None)
    if column.nullable and dice.random() < 0.3:
        return None
    if isinstance(kind, Boolean):
        return dice.random() < 0.5
    if isinstance(kind, Integer):
        return number + 1
    if isinstance(kind, Float):
        return dice.random() * 1e6
    assert isinstance(kind, String)
    return f"{column.name} ü'\" {number}"[-(kind.length or 40) :]


def content(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """All rows by table, in the order of their keys; equal on both databases."""
    return {
        table.name: [
            {name: _comparable(value) for name, value in row._mapping.items()}
            for row in connection.execute(table.select().order_by(*table.primary_key))
        ]
        for table in reflected(connection)
    }


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value
