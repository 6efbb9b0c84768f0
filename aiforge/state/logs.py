"""Log lines of runs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, Connection, ForeignKey, Integer, String, Table, Text, func, select

from aiforge.schemas.runs import LogLine
from aiforge.state.events import touch
from aiforge.state.ops import read, scan
from aiforge.state.schema import Moment, metadata, now, storable, to_model

LONGEST_MESSAGE = 16_384

run_logs = Table(
    "run_logs",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("level", String(16), nullable=False),
    Column("message", Text, nullable=False),
)


def append(connection: Connection, run_id: str, lines: Sequence[LogLine]) -> None:
    """Add lines to the end of a run's log; their sequence numbers are assigned here."""
    if not lines:
        return
    last = connection.execute(
        select(func.max(run_logs.c.sequence)).where(run_logs.c.run_id == run_id)
    ).scalar_one()
    rows = [
        {
            "run_id": run_id,
            "sequence": (last or 0) + index,
            "at": line.at,
            "level": line.level[:16],
            "message": storable(line.message[:LONGEST_MESSAGE]),
        }
        for index, line in enumerate(lines, start=1)
    ]
    connection.execute(run_logs.insert(), rows)
    touch(connection, run_id)


def say(connection: Connection, run_id: str, message: str, level: str = "info") -> None:
    """Add one line of the platform's own."""
    append(connection, run_id, [LogLine(sequence=0, at=now(), level=level, message=message)])


@scan
def tail(connection: Connection, run_id: str, limit: int) -> list[LogLine]:
    """The last lines of a run, oldest first."""
    rows = connection.execute(
        select(run_logs)
        .where(run_logs.c.run_id == run_id)
        .order_by(run_logs.c.sequence.desc())
        .limit(limit)
    ).all()
    return [to_model(LogLine, row) for row in reversed(rows)]


@read
def after(connection: Connection, run_id: str, sequence: int, limit: int = 500) -> list[LogLine]:
    """The lines that follow a sequence number, oldest first."""
    rows = connection.execute(
        select(run_logs)
        .where(run_logs.c.run_id == run_id, run_logs.c.sequence > sequence)
        .order_by(run_logs.c.sequence)
        .limit(limit)
    )
    return [to_model(LogLine, row) for row in rows]
