"""Statements that every write carries out, handed to the driver without a detour.

SQLAlchemy looks a statement up, arranges its values and makes a result object each time, which
costs three times what SQLite takes. What is compiled here is SQLAlchemy's own SQL, and values are
converted by its own types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ClauseElement

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class _Plan:
    text: str
    values: Sequence[tuple[str, Convert | None]]
    by_position: bool

    def arrange(self, given: Mapping[str, Any]) -> Any:
        """The values as the driver takes them."""
        if self.by_position:
            return [
                given.get(name) if convert is None else convert(given.get(name))
                for name, convert in self.values
            ]
        return {
            name: given.get(name) if convert is None else convert(given.get(name))
            for name, convert in self.values
        }


class _Compiled:
    """A statement compiled once for each kind of database."""

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._plans: dict[str, _Plan] = {}

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """The driver's cursor after it carried out the statement; the caller closes it."""
        dialect = connection.dialect
        plan = self._plans.get(dialect.name) or self._prepare(dialect)
        arranged = plan.arrange(values)
        cursor = connection.connection.cursor()
        try:
            return cursor.execute(plan.text, arranged)
        except dialect.loaded_dbapi.Error as error:
            cursor.close()
            raise DBAPIError.instance(
                plan.text, arranged, error, dialect.loaded_dbapi.Error, dialect=dialect
            ) from error

    def _prepare(self, dialect: Dialect) -> _Plan:
        columns: dict[str, Any] = {"column_keys": self._columns} if self._columns else {}
        compiled: Any = self._statement.compile(dialect=dialect, **columns)
        names = compiled.positiontup or list(compiled.binds)
        values = [(name, _conversion(compiled.binds[name].type, dialect)) for name in names]
        plan = _Plan(compiled.string, values, bool(compiled.positional))
        self._plans[dialect.name] = plan
        return plan


class Prepared(_Compiled):
    """A statement that changes rows and returns none.

    Args:
        statement: Its parameters are the names in ``columns``, or those that it binds itself.
        columns: The columns that an INSERT fills; one that a call does not give is NULL.
    """

    def __call__(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Carry it out in the connection's transaction; the number of rows that it changed.

        Raises:
            DBAPIError: As ``Connection.execute``.
        """
        cursor = self._execute(connection, values)
        changed = int(cursor.rowcount)
        cursor.close()
        return changed


class PreparedQuery(_Compiled):
    """A query for one row of texts and numbers, which come as the driver gives them.

    Args:
        query: Its parameters are the names that it binds.
    """

    def __init__(self, query: Select[Any]) -> None:
        super().__init__(query)

    def __call__(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row, or ``None`` where there is none; raises as ``Prepared``."""
        cursor = self._execute(connection, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return row


def _conversion(type_: Any, dialect: Dialect) -> Convert | None:
    found: Convert | None = type_.dialect_impl(dialect).bind_processor(dialect)
    return found
