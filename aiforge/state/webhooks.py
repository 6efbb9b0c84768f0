"""Subscriptions to events. Secrets are kept as they are, since deliveries are signed with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Row, String, Table, Text, func, select

from aiforge.errors import NotFound
from aiforge.schemas.common import Listing
from aiforge.schemas.webhooks import Endpoint, Webhook, WebhookStatus
from aiforge.state import events, lifecycles
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, to_model

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("description", Text),
    Column("status", String(16), nullable=False),
    Column("disabled_reason", Text),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_valid_until", Moment),
    # Sequence number of the last event that deliveries were made of.
    Column("cursor", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", Moment, nullable=False),
)

_SHOWN = [webhooks.c[name] for name in Webhook.model_fields]


@write
def create(connection: Connection, new: Webhook, secret: str) -> Webhook:
    """Store a subscription to what happens from now on."""
    values = new.model_dump(by_alias=False)
    events.append(connection, "webhook.created", new.id, events=new.events)
    cursor = events.latest(connection)
    connection.execute(webhooks.insert().values(**values, secret=secret, cursor=cursor))
    return get(connection, new.id)


def _row(connection: Connection, webhook_id: str) -> Row[Any]:
    row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook {webhook_id}.", code="webhook_not_found")
    return row


@read
def get(connection: Connection, webhook_id: str) -> Webhook:
    """One subscription.

    Raises:
        NotFound: There is no such subscription.
    """
    return to_model(Webhook, _row(connection, webhook_id))


@read
def page(connection: Connection, limit: int, offset: int) -> Listing[Webhook]:
    """Subscriptions, newest first."""
    rows = connection.execute(
        select(*_SHOWN).order_by(webhooks.c.id.desc()).limit(limit).offset(offset)
    )
    items = [to_model(Webhook, row) for row in rows]
    total = connection.execute(select(func.count()).select_from(webhooks)).scalar_one()
    return Listing[Webhook](items=items, total=total)


@read
def endpoint(connection: Connection, webhook_id: str) -> Endpoint | None:
    """Where and how to send; ``None`` where nothing is to be sent (any more)."""
    row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
    if row is None or row.status != WebhookStatus.ACTIVE:
        return None
    secrets = [row.secret]
    if row.previous_secret and row.previous_valid_until > now():
        secrets.append(row.previous_secret)
    return Endpoint(id=row.id, url=row.url, secrets=secrets)


@write
def rotate(connection: Connection, webhook_id: str, secret: str, valid_until: datetime) -> None:
    """Sign with another secret; until ``valid_until`` with the one before, too.

    Raises:
        NotFound: There is no such subscription.
    """
    row = _row(connection, webhook_id)
    connection.execute(
        webhooks.update()
        .where(webhooks.c.id == webhook_id)
        .values(secret=secret, previous_secret=row.secret, previous_valid_until=valid_until)
    )
    events.append(connection, "webhook.rotated", webhook_id)


@write
def change(
    connection: Connection, webhook_id: str, status: WebhookStatus, reason: str | None = None
) -> Webhook:
    """Change a subscription's status; nothing happens where it has it. The only place that does.

    Raises:
        NotFound: There is no such subscription.
    """
    current = WebhookStatus(_row(connection, webhook_id).status)
    if current is not status:
        lifecycles.WEBHOOK.require(webhook_id, current, status)
        connection.execute(
            webhooks.update()
            .where(webhooks.c.id == webhook_id)
            .values(status=status, disabled_reason=reason)
        )
        events.append(connection, f"webhook.{status}", webhook_id, reason=reason)
    return get(connection, webhook_id)
