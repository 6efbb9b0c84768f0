"""The append-only log that SSE, webhooks, missions and the audit trail read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, func, select

from aiforge.redaction import redact_all
from aiforge.schemas.runs import Event
from aiforge.state.ops import read
from aiforge.state.prepared import Prepared
from aiforge.state.schema import Json, Moment, metadata, now, to_model

TOPICS = "aiforge_topics"
"""Where a connection notes which resources its transaction touched, to wake who waits for them."""

REQUEST = "aiforge_request"
"""Where a connection has the id of the request that its transaction serves, if it serves one."""

events = Table(
    "events",
    metadata,
    Column(
        "sequence",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("at", Moment, nullable=False),
    Column("type", String(64), nullable=False),
    Column("resource_id", String(64), nullable=False),
    Column("data", Json, nullable=False),
    Index("ix_events_resource_id", "resource_id", "sequence"),
    sqlite_autoincrement=True,
)


_INSERT = Prepared(events.insert().inline(), ("at", "type", "resource_id", "data"))


def append(connection: Connection, type: str, resource_id: str, **data: Any) -> None:
    """Add an event to the transaction that changes the resource."""
    row = {"at": now(), "type": type, "resource_id": resource_id, "data": redact_all(data)}
    _INSERT(connection, row)
    touch(connection, resource_id)


def touch(connection: Connection, topic: str) -> None:
    """Wake those who wait for this resource, once the transaction is committed."""
    connection.info.setdefault(TOPICS, set()).add(topic)


@read
def after(
    connection: Connection, sequence: int, resource_id: str | None = None, limit: int = 500
) -> list[Event]:
    """The events that follow a sequence number, oldest first; of one resource, or of all."""
    query = select(events).where(events.c.sequence > sequence)
    if resource_id is not None:
        query = query.where(events.c.resource_id == resource_id)
    rows = connection.execute(query.order_by(events.c.sequence).limit(limit))
    return [to_model(Event, row) for row in rows]


@read
def latest(connection: Connection) -> int:
    """Sequence number of the newest event; 0 where there is none."""
    newest: int | None = connection.execute(select(func.max(events.c.sequence))).scalar_one()
    return newest or 0
