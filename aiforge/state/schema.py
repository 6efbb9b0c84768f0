"""What all tables share: their metadata, column types, and an upsert for both databases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    MetaData,
    Row,
    String,
    Table,
    Text,
    TypeDecorator,
    cast,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement

from aiforge.redaction import redact

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON().with_variant(postgresql.JSONB(), "postgresql")

Model = TypeVar("Model", bound=BaseModel)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone, so one is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return in_utc(value)


def in_utc(value: datetime | str | None) -> datetime | None:
    """A moment as a database gives it: SQLite as text or without a time zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None or value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def raw(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column as the database has it: JSON as text, a moment as it comes; both are hashable."""
    if column.type is Json:
        return cast(column, Text).label(column.key)
    return type_coerce(column, String).label(column.key)


def now() -> datetime:
    """The current time in milliseconds, the precision that the wire keeps."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    newest: str | None = None,
) -> None:
    """Insert rows; where the primary key exists, replace the other columns.

    Args:
        newest: A column; an existing row whose value there is greater stays as it is.
    """
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    where = table.c[newest] <= statement.excluded[newest] if newest else None
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=replaced, where=where),
        list(rows),
    )


def finite(value: float | None) -> float | None:
    """The value, or ``None`` where JSON has no number for it."""
    return value if value is not None and math.isfinite(value) else None


def storable(text: str) -> str:
    """The text without secrets, and without what a database cannot hold: NUL, lone surrogates."""
    return redact(text).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def to_model(kind: type[Model], row: Row[Any]) -> Model:
    """A row whose columns bear the names of a model's fields, as that model."""
    return kind.model_validate(row._mapping, from_attributes=False)
