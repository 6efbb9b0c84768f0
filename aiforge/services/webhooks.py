"""Webhooks: subscriptions to events, signed as https://www.standardwebhooks.com says."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Collection
from datetime import timedelta
from urllib.parse import urlsplit

from aiforge.addresses import check_literal, parse_address
from aiforge.errors import Conflict, InvalidInput
from aiforge.schemas.common import Listing, Message, Page, new_id
from aiforge.schemas.webhooks import (
    CreatedWebhook,
    Delivery,
    DeliveryStatus,
    RotatedSecret,
    Webhook,
    WebhookRequest,
    WebhookStatus,
)
from aiforge.services.context import Services
from aiforge.state import deliveries, webhooks
from aiforge.state.schema import now
from aiforge.state.store import RequestKey

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES = 32
_HOST = re.compile(r"[a-z0-9][a-z0-9._-]{0,252}")
ROTATION = timedelta(hours=24)
"""How long deliveries bear the old signature beside the new one."""


async def create(
    services: Services, request: WebhookRequest, key: RequestKey | None = None
) -> CreatedWebhook:
    """Subscribe a receiver to what happens from now on, and show the secret.

    Raises:
        InvalidInput: The URL is not one that may be sent to.
        Conflict: The ``Idempotency-Key`` made a webhook already, whose secret is not shown again.
    """
    check_url(request.url, services.settings.webhook_trusted_hosts)
    secret = new_secret()
    new = Webhook(
        id=new_id("hook"),
        **request.model_dump(by_alias=False),
        status=WebhookStatus.ACTIVE,
        created_by=services.principal.id,
        created_at=now(),
    )
    stored = await services.state.once(key).call(webhooks.create, new, secret)
    if stored.id != new.id:
        raise Conflict(
            f"This Idempotency-Key made {stored.id} already, whose secret is shown once only; "
            "rotate it to get another.",
            code="secret_shown_already",
            webhookId=stored.id,
        )
    return CreatedWebhook(**stored.model_dump(by_alias=False), secret=secret)


def new_secret() -> str:
    """A signing secret in the form of the specification."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_url(url: str, trusted_hosts: Collection[str]) -> None:
    """Refuse what no event may be sent to; the address behind a name is checked at each attempt.

    Raises:
        InvalidInput: ``url_invalid`` or ``url_not_allowed``.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused("it is malformed", "url_invalid") from error
    if not url.isascii() or not url.isprintable() or any(mark in url for mark in ' \\"<>'):
        raise _refused("it holds characters that a URL cannot hold", "url_invalid")
    if parts.scheme not in ("http", "https") or not (_HOST.fullmatch(host) or parse_address(host)):
        raise _refused("it is not of the form https://host/path", "url_invalid")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _refused("it holds credentials, which would be stored and shown", "url_invalid")
    if parts.fragment:
        raise _refused("it has a fragment", "url_invalid")
    if host in trusted_hosts:
        return
    if parts.scheme != "https":
        raise _refused("events go by https:// only", "url_not_allowed")
    check_literal(host)


def _refused(reason: str, code: str) -> InvalidInput:
    error = f"The webhook's URL is refused: {reason}."
    return InvalidInput(error, code=code, field="url", error=error)


async def list_page(services: Services, page: Page) -> Listing[Webhook]:
    """Subscriptions, newest first."""
    return await services.state.call(webhooks.page, page.limit, page.offset)


async def get(services: Services, webhook_id: str) -> Webhook:
    """One subscription, or ``NotFound``."""
    return await services.state.call(webhooks.get, webhook_id)


async def delete(services: Services, webhook_id: str, key: RequestKey | None = None) -> Message:
    """Delete a subscription with its deliveries, or ``NotFound``."""
    await services.state.once(key).call(deliveries.unsubscribe, webhook_id)
    return Message(message="Deleted")


async def enable(services: Services, webhook_id: str, key: RequestKey | None = None) -> Webhook:
    """Send to a disabled subscription again, with what happened meanwhile; or ``NotFound``."""
    return await services.state.once(key).call(webhooks.change, webhook_id, WebhookStatus.ACTIVE)


async def rotate(services: Services, webhook_id: str) -> RotatedSecret:
    """Sign with a new secret and show it; the old one goes on for a day. Or ``NotFound``."""
    secret, until = new_secret(), now() + ROTATION
    await services.state.call(webhooks.rotate, webhook_id, secret, until)
    return RotatedSecret(webhook_id=webhook_id, secret=secret, previous_valid_until=until)


async def send_ping(services: Services, webhook_id: str, key: RequestKey | None = None) -> Delivery:
    """Send the receiver a ping; its delivery tells what came of it. Or ``NotFound``."""
    return await services.state.once(key).call(deliveries.ping, webhook_id)


async def deliveries_page(
    services: Services, webhook_id: str, page: Page, status: DeliveryStatus | None = None
) -> Listing[Delivery]:
    """A subscription's deliveries, newest first; or ``NotFound``."""
    return await services.state.call(deliveries.page, webhook_id, page.limit, page.offset, status)


async def replay(
    services: Services, webhook_id: str, delivery_id: str, key: RequestKey | None = None
) -> Delivery:
    """Send a delivery again under the same id, or ``NotFound``."""
    return await services.state.once(key).call(deliveries.replay, webhook_id, delivery_id)
