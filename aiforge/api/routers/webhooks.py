"""Webhooks: who is told of which events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Ctx, DeliveryId, Key, WebhookId
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.webhooks import (
    CreatedWebhook,
    Delivery,
    DeliveryStatus,
    RotatedSecret,
    Webhook,
    WebhookRequest,
)
from aiforge.services import webhooks

router = APIRouter(tags=["Webhooks"])

Status = Annotated[DeliveryStatus | None, Query(description="Only deliveries of this status.")]


@router.get("/webhooks", responses=answers([examples.WEBHOOK], paged=True))
async def list_webhooks(
    ctx: Ctx, response: Response, limit: Limit = 50, offset: Offset = 0
) -> list[Webhook]:
    """List webhooks, newest first, without their secrets."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await webhooks.list_page(ctx, page), response)


@router.post(
    "/webhooks",
    status_code=201,
    responses=answers(examples.WEBHOOK_CREATED, 400, 409, 413, 415, 422, status=201),
)
async def create_webhook(
    ctx: Ctx,
    body: Annotated[WebhookRequest, Body(examples=[examples.WEBHOOK_REQUEST])],
    key: Key,
) -> CreatedWebhook:
    """Have events sent to a URL; this answer is the only one that shows the secret."""
    return await webhooks.create(ctx, body, key)


@router.get("/webhooks/{webhook_id}", responses=answers(examples.WEBHOOK, 404))
async def get_webhook(ctx: Ctx, webhook_id: WebhookId) -> Webhook:
    """Get a webhook."""
    return await webhooks.get(ctx, webhook_id)


@router.delete("/webhooks/{webhook_id}", responses=answers(examples.DELETED, 400, 404, 409))
async def delete_webhook(ctx: Ctx, webhook_id: WebhookId, key: Key) -> Message:
    """Delete a webhook with its deliveries."""
    return await webhooks.delete(ctx, webhook_id, key)


@router.post("/webhooks/{webhook_id}/test", responses=answers(examples.DELIVERY, 400, 404, 409))
async def test_webhook(ctx: Ctx, webhook_id: WebhookId, key: Key) -> Delivery:
    """Send `webhook.ping`; the list of deliveries tells what came of it."""
    return await webhooks.send_ping(ctx, webhook_id, key)


@router.post("/webhooks/{webhook_id}/enable", responses=answers(examples.WEBHOOK, 400, 404, 409))
async def enable_webhook(ctx: Ctx, webhook_id: WebhookId, key: Key) -> Webhook:
    """Send to a disabled webhook again, beginning with what happened meanwhile."""
    return await webhooks.enable(ctx, webhook_id, key)


@router.post("/webhooks/{webhook_id}/rotate", responses=answers(examples.ROTATED, 404))
async def rotate_webhook_secret(ctx: Ctx, webhook_id: WebhookId) -> RotatedSecret:
    """Make a new secret and show it; for a day deliveries bear the old signature, too."""
    return await webhooks.rotate(ctx, webhook_id)


@router.get(
    "/webhooks/{webhook_id}/deliveries", responses=answers([examples.DELIVERY], 404, paged=True)
)
async def list_deliveries(
    ctx: Ctx,
    response: Response,
    webhook_id: WebhookId,
    status: Status = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[Delivery]:
    """List the deliveries of a webhook with their attempts, newest first."""
    page = Page(limit=limit, offset=offset)
    found = await webhooks.deliveries_page(ctx, webhook_id, page, status)
    return pagination.answer(found, response)


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    responses=answers(examples.DELIVERY, 400, 404, 409),
)
async def replay_delivery(
    ctx: Ctx, webhook_id: WebhookId, delivery_id: DeliveryId, key: Key
) -> Delivery:
    """Send a delivery again, under the same id."""
    return await webhooks.replay(ctx, webhook_id, delivery_id, key)
