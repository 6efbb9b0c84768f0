"""The audit trail: who did what. Rows are added and never changed; the database sees to that."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    Row,
    String,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.sql.elements import ColumnElement

from aiforge.schemas.access import AuditEntry, AuditOutcome, Origin
from aiforge.schemas.common import Listing, Wire
from aiforge.state.ops import PACKAGE, read, write
from aiforge.state.prepared import Prepared
from aiforge.state.schema import Moment, metadata, now, storable

audit = Table(
    "audit",
    metadata,
    Column(
        "sequence",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("at", Moment, nullable=False, index=True),
    Column("principal", String(200), nullable=False, index=True),
    Column("principal_name", String(200), nullable=False),
    Column("action", String(200), nullable=False),
    Column("operation", String(100)),
    # Ids between spaces, so that one of them is found by a pattern in either database.
    Column("resource_ids", Text, nullable=False),
    Column("address", String(100)),
    Column("request_id", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("status", Integer),
    sqlite_autoincrement=True,
)


_INSERT = Prepared(
    audit.insert().inline(), [column.name for column in audit.c if column.name != "sequence"]
)


class AuditFilter(Wire):
    """Which entries are wanted; what is ``None`` does not matter."""

    principal: str | None = None
    resource_id: str | None = None
    request_id: str | None = None
    outcome: AuditOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None


def note(
    connection: Connection, origin: Origin, operation: str, resource_ids: Collection[str]
) -> None:
    """Add what a request does to the transaction that does it.

    Args:
        operation: The state's operation, as ``ops.name_of`` names it.
        resource_ids: What the transaction touches.
    """
    name = operation.removeprefix(PACKAGE).replace(":", ".")
    _add(connection, origin, AuditOutcome.DONE, operation=name, resource_ids=sorted(resource_ids))


@write
def note_refusal(connection: Connection, origin: Origin, status: int) -> None:
    """Add a request that changed nothing, since it was refused or failed."""
    outcome = AuditOutcome.FAILED if status >= 500 else AuditOutcome.REFUSED
    _add(connection, origin, outcome, status=status)


def _add(
    connection: Connection,
    origin: Origin,
    outcome: AuditOutcome,
    *,
    operation: str | None = None,
    resource_ids: Collection[str] = (),
    status: int | None = None,
) -> None:
    ids = f" {' '.join(resource_ids)} " if resource_ids else ""
    row = {
        "at": now(),
        "principal": storable(origin.principal[:200]),
        "principal_name": storable(origin.principal_name[:200]),
        "action": storable(origin.action[:200]),
        "operation": operation,
        "resource_ids": ids,
        "address": origin.address,
        "request_id": origin.request_id,
        "outcome": outcome,
        "status": status,
    }
    _INSERT(connection, row)


@read
def page(
    connection: Connection, limit: int, offset: int, wanted: AuditFilter
) -> Listing[AuditEntry]:
    """Entries, newest first."""
    conditions = _conditions(wanted)
    rows = connection.execute(
        select(audit)
        .where(*conditions)
        .order_by(audit.c.sequence.desc())
        .limit(limit)
        .offset(offset)
    )
    items = [_entry(row) for row in rows]
    total = connection.execute(
        select(func.count()).select_from(audit).where(*conditions)
    ).scalar_one()
    return Listing[AuditEntry](items=items, total=total)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry.model_validate({**row._mapping, "resource_ids": row.resource_ids.split()})


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        audit.c[name] == value
        for name in ("principal", "request_id", "outcome")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.resource_id is not None:
        found.append(audit.c.resource_ids.contains(f" {wanted.resource_id} ", autoescape=True))
    if wanted.since is not None:
        found.append(audit.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(audit.c.at < wanted.until)
    return found
