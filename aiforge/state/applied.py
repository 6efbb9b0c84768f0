"""Requests that were carried out already, with their results.

A write and the note that it was done stand in one transaction. So a request that is repeated,
by Ray after a crash of the actor or by a client with an ``Idempotency-Key``, is answered with
the first result and changes nothing.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Column, Connection, String, Table, Text, bindparam, or_, select
from sqlalchemy.sql.elements import ColumnElement

from aiforge.errors import Conflict
from aiforge.state.ops import write
from aiforge.state.prepared import Prepared, PreparedQuery
from aiforge.state.schema import Moment, metadata, now

applied = Table(
    "applied_requests",
    metadata,
    Column("request_id", String(128), primary_key=True),
    # Only requests that a client names have one: the hash of what it sent.
    Column("fingerprint", String(64)),
    Column("result", Text, nullable=False),
    Column("at", Moment, nullable=False, index=True),
)

KEEP_OWN = timedelta(hours=1)
KEEP_CLIENT = timedelta(hours=48)


_FIND = PreparedQuery(
    select(applied.c.result, applied.c.fingerprint).where(
        applied.c.request_id == bindparam("request_id")
    )
)
_INSERT = Prepared(applied.insert(), applied.c.keys())


def find(connection: Connection, request_id: str, fingerprint: str | None) -> str | None:
    """The stored result of a request as JSON, if it was carried out.

    Raises:
        Conflict: The client used the same key for a request with another body.
    """
    row = _FIND(connection, {"request_id": request_id})
    if row is None:
        return None
    result, its_fingerprint = row
    if its_fingerprint != fingerprint:
        raise Conflict(
            "This Idempotency-Key was used for another request; choose a new key.",
            code="idempotency_key_reused",
        )
    return str(result)


def note(connection: Connection, request_id: str, fingerprint: str | None, result: str) -> None:
    """Note that a request was carried out, in the transaction that did so."""
    row = {"request_id": request_id, "fingerprint": fingerprint, "result": result, "at": now()}
    _INSERT(connection, row)


@write
def purge(connection: Connection) -> int:
    """Forget requests that nobody can repeat any more; how many."""
    moment = now()
    old: ColumnElement[bool] = or_(
        applied.c.at < moment - KEEP_CLIENT,
        (applied.c.at < moment - KEEP_OWN) & applied.c.fingerprint.is_(None),
    )
    return connection.execute(applied.delete().where(old)).rowcount
