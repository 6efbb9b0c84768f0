"""Webhooks: who is told of which events, and what became of it."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from aiforge.schemas.common import Request, Timestamp, Wire

_PATTERN = re.compile(r"\*|[a-z]+\.(\*|[a-z_]+)")


def _pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError("Must be an event type, as job.completed, or a pattern, as job.* or *")
    return text


EventPattern = Annotated[str, Field(max_length=64), AfterValidator(_pattern)]


class WebhookStatus(StrEnum):
    """Whether events are sent."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DeliveryStatus(StrEnum):
    """Where a delivery is in its life."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookRequest(Request):
    """``POST /webhooks``: where to send which events."""

    url: str = Field(min_length=1, max_length=2000)
    events: list[EventPattern] = Field(min_length=1, max_length=50)
    description: str | None = Field(default=None, max_length=500)


class Webhook(Wire):
    """A subscription, without its secret."""

    id: str
    url: str
    events: list[str]
    description: str | None = None
    status: WebhookStatus
    disabled_reason: str | None = None
    created_by: str
    created_at: Timestamp


class CreatedWebhook(Webhook):
    """A fresh subscription; ``secret`` verifies its deliveries and is shown this once."""

    secret: str


class RotatedSecret(Wire):
    """A fresh secret; until ``previous_valid_until`` deliveries bear the old signature, too."""

    webhook_id: str
    secret: str
    previous_valid_until: Timestamp


class Attempt(Wire):
    """One attempt to deliver: the receiver's status, or why there was none."""

    at: Timestamp
    status: int | None = None
    error: str | None = None
    milliseconds: float


class Delivery(Wire):
    """One event on its way to one receiver; ``id`` is the ``webhook-id`` of every attempt."""

    id: str
    webhook_id: str
    event_type: str
    event_sequence: int | None = None
    status: DeliveryStatus
    attempts: list[Attempt] = Field(default_factory=list)
    next_attempt_at: Timestamp | None = None
    created_at: Timestamp
    delivered_at: Timestamp | None = None


class Endpoint(Wire):
    """What a sender has to know of a receiver."""

    id: str
    url: str
    secrets: list[str]


class Outgoing(Wire):
    """A delivery that is due, with what it says."""

    id: str
    webhook_id: str
    event_type: str
    event_sequence: int | None = None
    resource_id: str
    at: datetime
    data: dict[str, Any]
    tries: int
