"""Webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from aiforge.client._flow import Flow
from aiforge.client._flows.common import (
    Page,
    fetch,
    fetch_page,
    given,
    post,
    quoted,
)
from aiforge.client._flows.common import (
    delete as delete_at,
)
from aiforge.schemas.common import Message
from aiforge.schemas.webhooks import (
    CreatedWebhook,
    Delivery,
    DeliveryStatus,
    RotatedSecret,
    Webhook,
)


def create(
    url: str, events: Sequence[str], *, description: str | None = None
) -> Flow[CreatedWebhook]:
    """Have events sent to a URL; ``secret`` verifies them and is shown this once.

    Args:
        url: ``https://…``
        events: Types or patterns, as ``job.completed``, ``job.*`` or ``*``.

    Raises:
        InvalidInput: The URL is not one that the platform sends to.
    """
    body = given(url=url, events=list(events), description=description)
    return post(CreatedWebhook, "/webhooks", json=body)


def list_(*, limit: int | None = None, offset: int | None = None) -> Flow[Page[Webhook]]:
    """The webhooks, newest first, without their secrets."""
    return fetch_page(Webhook, "/webhooks", limit=limit, offset=offset)


def get(webhook_id: str) -> Flow[Webhook]:
    """One webhook.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(Webhook, f"/webhooks/{quoted(webhook_id)}")


def delete(webhook_id: str) -> Flow[Message]:
    """Delete a webhook with its deliveries."""
    return delete_at(Message, f"/webhooks/{quoted(webhook_id)}")


def test(webhook_id: str) -> Flow[Delivery]:
    """Send a ping; ``deliveries`` tells what came of it."""
    return post(Delivery, f"/webhooks/{quoted(webhook_id)}/test")


def enable(webhook_id: str) -> Flow[Webhook]:
    """Send to a disabled webhook again, beginning with what happened meanwhile."""
    return post(Webhook, f"/webhooks/{quoted(webhook_id)}/enable")


def rotate(webhook_id: str) -> Flow[RotatedSecret]:
    """Make a new secret; for a day deliveries bear the old signature, too."""
    return post(RotatedSecret, f"/webhooks/{quoted(webhook_id)}/rotate")


def deliveries(
    webhook_id: str,
    *,
    status: DeliveryStatus | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[Page[Delivery]]:
    """The deliveries of a webhook with their attempts, newest first."""
    path = f"/webhooks/{quoted(webhook_id)}/deliveries"
    return fetch_page(Delivery, path, status=status, limit=limit, offset=offset)


def replay(webhook_id: str, delivery_id: str) -> Flow[Delivery]:
    """Send a delivery again, under the same id."""
    path = f"/webhooks/{quoted(webhook_id)}/deliveries/{quoted(delivery_id)}/replay"
    return post(Delivery, path)
