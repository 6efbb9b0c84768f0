"""How many runs of each kind have each status, kept up to date so that no list has to count.

Counting 100,000 rows costs more than reading a page of them.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, String, Table, func, select

from aiforge.schemas.runs import RunKind, RunStatus
from aiforge.state.schema import metadata

run_counts = Table(
    "run_counts",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("status", String(16), primary_key=True),
    Column("number", Integer, nullable=False),
)


def move(connection: Connection, kind: RunKind, current: RunStatus | None, new: RunStatus) -> None:
    """Count a run under its new status instead of its current one; ``None`` for a new run."""
    if current is not None:
        _add(connection, kind, current, -1)
    _add(connection, kind, new, 1)


def _add(connection: Connection, kind: RunKind, status: RunStatus, number: int) -> None:
    changed = connection.execute(
        run_counts.update()
        .where(run_counts.c.kind == kind, run_counts.c.status == status)
        .values(number=run_counts.c.number + number)
    )
    if not changed.rowcount:
        connection.execute(run_counts.insert().values(kind=kind, status=status, number=number))


def total(connection: Connection, kind: RunKind | None = None, *statuses: RunStatus) -> int:
    """Number of runs of a kind (of all, where it is ``None``) in any of the statuses (or all)."""
    query = select(func.coalesce(func.sum(run_counts.c.number), 0))
    if kind is not None:
        query = query.where(run_counts.c.kind == kind)
    if statuses:
        query = query.where(run_counts.c.status.in_(statuses))
    return int(connection.execute(query).scalar_one())
