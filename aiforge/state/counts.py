"""How many runs of each kind have each status, kept up to date so that no list has to count.

Counting 100,000 rows costs more than reading a page of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Integer, Select, String, Table, bindparam, func, select

from aiforge.schemas.runs import RunKind, RunStatus
from aiforge.state.prepared import Prepared
from aiforge.state.schema import metadata

run_counts = Table(
    "run_counts",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("status", String(16), primary_key=True),
    Column("number", Integer, nullable=False),
)


# Statements are built once: building one costs more than running it.
_ADD = Prepared(
    run_counts.update()
    .where(
        run_counts.c.kind == bindparam("its_kind"), run_counts.c.status == bindparam("its_status")
    )
    .values(number=run_counts.c.number + bindparam("more"))
)


def move(connection: Connection, kind: RunKind, current: RunStatus | None, new: RunStatus) -> None:
    """Count a run under its new status instead of its current one; ``None`` for a new run."""
    if current is not None:
        _add(connection, kind, current, -1)
    _add(connection, kind, new, 1)


def _add(connection: Connection, kind: RunKind, status: RunStatus, number: int) -> None:
    key = {"its_kind": kind, "its_status": status, "more": number}
    if not _ADD(connection, key):
        row = {"kind": kind, "status": status, "number": number}
        connection.execute(run_counts.insert(), row)


def total(connection: Connection, kind: RunKind | None = None, *statuses: RunStatus) -> int:
    """Number of runs of a kind (of all, where it is ``None``) in any of the statuses (or all)."""
    return int(connection.execute(_total(kind, statuses)).scalar_one())


@cache
def _total(kind: RunKind | None, statuses: tuple[RunStatus, ...]) -> Select[Any]:
    query = select(func.coalesce(func.sum(run_counts.c.number), 0))
    if kind is not None:
        query = query.where(run_counts.c.kind == kind)
    if statuses:
        query = query.where(run_counts.c.status.in_(statuses))
    return query
