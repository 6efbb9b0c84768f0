"""The outbox of webhooks, derived from the log of events.

Each subscription remembers the last event that deliveries were made of. Deliveries and that
cursor change in one transaction, so that a crash at any moment neither loses an event nor makes
two deliveries of it. What becomes of a delivery is no event of its own: that would make others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    UniqueConstraint,
    func,
    select,
)

from aiforge.errors import NotFound
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.schemas.runs import Event
from aiforge.schemas.webhooks import Attempt, Delivery, DeliveryStatus, Outgoing, WebhookStatus
from aiforge.state import events, lifecycles, webhooks
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, to_model

PING = "webhook.ping"

KEPT = 50
"""Attempts that the log of one delivery remembers."""

KEEP = timedelta(days=30)
"""How long deliveries are remembered once they are done."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("webhook_id", ForeignKey("webhooks.id"), nullable=False),
    Column("event_type", String(64), nullable=False),
    # None for a ping, which tells of no event.
    Column("event_sequence", BigInteger),
    Column("status", String(16), nullable=False),
    Column("attempts", Json, nullable=False),
    # Attempts since it was queued or replayed; the log above remembers all.
    Column("tries", Integer, nullable=False),
    Column("next_attempt_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("delivered_at", Moment),
    UniqueConstraint("webhook_id", "event_sequence"),
    Index("ix_deliveries_due", "status", "webhook_id", "next_attempt_at"),
)


class Agenda(Wire):
    """What a sender has to do now: turn events into deliveries, and send those of some webhooks."""

    has_events: bool
    due: list[str]


class Result(Wire):
    """What an attempt came to; ``next_attempt_at`` is ``None`` where there is to be none."""

    delivery_id: str
    attempt: Attempt
    status: DeliveryStatus
    next_attempt_at: datetime | None = None


def matches(patterns: Sequence[str], event_type: str) -> bool:
    """Whether an event is one of those that a subscription asks for."""
    family = f"{event_type.partition('.')[0]}.*"
    return any(pattern in ("*", event_type, family) for pattern in patterns)


_ACTIVE = webhooks.webhooks.c.status == WebhookStatus.ACTIVE


@read
def agenda(connection: Connection, busy: Sequence[str]) -> Agenda | None:
    """What there is to do now, ``None`` for nothing; ``busy`` are webhooks that are seen to."""
    table, hooks = deliveries, webhooks.webhooks
    newest = select(func.max(events.events.c.sequence)).scalar_subquery()
    behind = select(hooks.c.id).where(_ACTIVE, hooks.c.cursor < newest).limit(1)
    due = (
        select(table.c.webhook_id)
        .join(hooks, hooks.c.id == table.c.webhook_id)
        .where(
            _ACTIVE,
            table.c.status == DeliveryStatus.PENDING,
            table.c.next_attempt_at <= now(),
            table.c.webhook_id.not_in(busy),
        )
        .distinct()
    )
    found = Agenda(
        has_events=connection.execute(behind).first() is not None,
        due=list(connection.execute(due).scalars()),
    )
    return found if found.has_events or found.due else None


@write
def expand(connection: Connection, limit: int = 500) -> int:
    """Make deliveries of events that have none yet; how many events were looked at."""
    hooks = webhooks.webhooks
    seen = 0
    for hook in connection.execute(select(hooks).where(_ACTIVE)).all():
        found = events.after(connection, hook.cursor, limit=limit)
        if not found:
            continue
        seen += len(found)
        rows = [_of_event(hook.id, event) for event in found if matches(hook.events, event.type)]
        if rows:
            connection.execute(deliveries.insert(), rows)
        connection.execute(
            hooks.update().where(hooks.c.id == hook.id).values(cursor=found[-1].sequence)
        )
    return seen


def _of_event(webhook_id: str, event: Event) -> dict[str, Any]:
    return _new(webhook_id, event.type, event.sequence)


def _new(webhook_id: str, event_type: str, sequence: int | None) -> dict[str, Any]:
    moment = now()
    return {
        "id": new_id("msg"),
        "webhook_id": webhook_id,
        "event_type": event_type,
        "event_sequence": sequence,
        "status": lifecycles.DELIVERY.initial,
        "attempts": [],
        "tries": 0,
        "next_attempt_at": moment,
        "created_at": moment,
    }


@write
def ping(connection: Connection, webhook_id: str) -> Delivery:
    """Send a subscription's receiver a message that tells of no event.

    Raises:
        NotFound: There is no such subscription.
    """
    webhooks.get(connection, webhook_id)
    row = _new(webhook_id, PING, None)
    connection.execute(deliveries.insert().values(**row))
    events.touch(connection, webhook_id)
    return get(connection, webhook_id, row["id"])


@read
def get(connection: Connection, webhook_id: str, delivery_id: str) -> Delivery:
    """One delivery of a subscription.

    Raises:
        NotFound: There is no such delivery.
    """
    return to_model(Delivery, _row(connection, webhook_id, delivery_id))


def _row(connection: Connection, webhook_id: str, delivery_id: str) -> Row[Any]:
    table = deliveries
    row = connection.execute(
        select(table).where(table.c.id == delivery_id, table.c.webhook_id == webhook_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id}.", code="delivery_not_found")
    return row


@read
def page(
    connection: Connection,
    webhook_id: str,
    limit: int,
    offset: int,
    status: DeliveryStatus | None = None,
) -> Listing[Delivery]:
    """A subscription's deliveries, newest first.

    Raises:
        NotFound: There is no such subscription.
    """
    webhooks.get(connection, webhook_id)
    table = deliveries
    conditions = [table.c.webhook_id == webhook_id]
    if status is not None:
        conditions.append(table.c.status == status)
    query = select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit).offset(offset)
    items = [to_model(Delivery, row) for row in connection.execute(query)]
    number = select(func.count()).select_from(table).where(*conditions)
    return Listing[Delivery](items=items, total=connection.execute(number).scalar_one())


@read
def due(connection: Connection, webhook_id: str, limit: int) -> list[Outgoing]:
    """What is to be sent to a subscription's receiver now, oldest first."""
    table, log = deliveries, events.events
    query = (
        select(table, log.c.resource_id, log.c.at, log.c.data)
        .join(log, log.c.sequence == table.c.event_sequence, isouter=True)
        .where(
            table.c.webhook_id == webhook_id,
            table.c.status == DeliveryStatus.PENDING,
            table.c.next_attempt_at <= now(),
        )
        .order_by(table.c.next_attempt_at, table.c.id)
        .limit(limit)
    )
    return [_outgoing(row) for row in connection.execute(query)]


def _outgoing(row: Row[Any]) -> Outgoing:
    return Outgoing(
        id=row.id,
        webhook_id=row.webhook_id,
        event_type=row.event_type,
        event_sequence=row.event_sequence,
        resource_id=row.resource_id or row.webhook_id,
        at=row.at or row.created_at,
        data=row.data or {},
        tries=row.tries,
    )


@write
def record(connection: Connection, results: list[Result]) -> None:
    """Note what attempts came to; those of deliveries that are gone or done are ignored."""
    table = deliveries
    for result in results:
        row = connection.execute(
            select(table).where(table.c.id == result.delivery_id)
        ).one_or_none()
        if row is None or row.status != DeliveryStatus.PENDING:
            continue
        attempt = result.attempt.model_dump(mode="json", by_alias=False)
        _change(
            connection,
            row,
            result.status,
            attempts=[*row.attempts, attempt][-KEPT:],
            tries=row.tries + 1,
            next_attempt_at=result.next_attempt_at,
        )


@write
def replay(connection: Connection, webhook_id: str, delivery_id: str) -> Delivery:
    """Send a delivery again, under the same id; one that is still under way, now.

    Raises:
        NotFound: There is no such delivery.
    """
    row = _row(connection, webhook_id, delivery_id)
    _change(connection, row, DeliveryStatus.PENDING, next_attempt_at=now(), tries=0)
    events.touch(connection, webhook_id)
    return get(connection, webhook_id, delivery_id)


def _change(connection: Connection, row: Row[Any], new: DeliveryStatus, **values: Any) -> None:
    """Change a delivery's status: the only place that does."""
    current = DeliveryStatus(row.status)
    if current is not new:
        lifecycles.DELIVERY.require(row.id, current, new)
    if new is DeliveryStatus.DELIVERED:
        values["delivered_at"] = now()
    connection.execute(
        deliveries.update().where(deliveries.c.id == row.id).values(status=new, **values)
    )


@write
def purge(connection: Connection) -> int:
    """Forget deliveries that are done for long; how many."""
    table = deliveries
    old = (table.c.status != DeliveryStatus.PENDING) & (table.c.created_at < now() - KEEP)
    return connection.execute(table.delete().where(old)).rowcount


@write
def unsubscribe(connection: Connection, webhook_id: str) -> None:
    """Delete a subscription with its deliveries.

    Raises:
        NotFound: There is no such subscription.
    """
    webhooks.get(connection, webhook_id)
    connection.execute(deliveries.delete().where(deliveries.c.webhook_id == webhook_id))
    hooks = webhooks.webhooks
    connection.execute(hooks.delete().where(hooks.c.id == webhook_id))
    events.append(connection, "webhook.deleted", webhook_id)
