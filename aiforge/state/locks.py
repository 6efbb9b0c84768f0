"""Locks that runs hold until they end, whatever ends them.

A lock names the attempt that holds it and is worth nothing once that attempt is over: so none
has to be given back, and no crash leaves one behind.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, String, Table, select

from aiforge.errors import NotFound
from aiforge.state import events, runs
from aiforge.state.ops import write
from aiforge.state.schema import metadata, upsert

locks = Table(
    "locks",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
)


@write
def acquire(connection: Connection, name: str, run_id: str, attempt: int) -> str:
    """Take a lock for as long as an attempt lasts; to take it twice is no error.

    Returns:
        The run that holds it now: this one, or the one to wait for.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    runs.require_attempt(connection, run_id, attempt)
    row = connection.execute(select(locks).where(locks.c.name == name)).one_or_none()
    if row is not None and row.run_id != run_id and _is_current(connection, row):
        return str(row.run_id)
    upsert(connection, locks, [{"name": name, "run_id": run_id, "attempt": attempt}])
    events.touch(connection, run_id)
    return run_id


def _is_current(connection: Connection, row: object) -> bool:
    try:
        run = runs.get(connection, row.run_id)  # type: ignore[attr-defined]
    except NotFound:
        return False
    # The next attempt of the holder takes up what this one left half done.
    return run.status in runs.ACTIVE
