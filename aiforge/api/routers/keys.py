"""API keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Ctx, Key, KeyId
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.access import ApiKey, CreatedKey, KeyRequest
from aiforge.schemas.common import Page
from aiforge.services import keys

router = APIRouter(tags=["Access"])


@router.get("/keys", responses=answers([examples.API_KEY], paged=True))
async def list_keys(
    ctx: Ctx, response: Response, limit: Limit = 50, offset: Offset = 0
) -> list[ApiKey]:
    """List API keys, newest first, without their secrets."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await keys.list_page(ctx, page), response)


@router.post(
    "/keys",
    status_code=201,
    responses=answers(examples.KEY_CREATED, 400, 409, 413, 415, 422, status=201),
)
async def create_key(
    ctx: Ctx,
    body: Annotated[KeyRequest, Body(examples=[examples.KEY_REQUEST])],
    key: Key,
) -> CreatedKey:
    """Make an API key; this answer is the only one that shows it."""
    return await keys.create(ctx, body, key)


@router.delete("/keys/{key_id}", responses=answers(examples.API_KEY, 400, 404, 409))
async def revoke_key(ctx: Ctx, key_id: KeyId, key: Key) -> ApiKey:
    """Revoke an API key; to do so twice is no error."""
    return await keys.revoke(ctx, key_id, key)
