"""Start of a training job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from aiforge.api import examples
from aiforge.api.dependencies import Ctx, Key
from aiforge.api.responses import answers
from aiforge.schemas.jobs import FineTuneRequest, FineTuneResponse
from aiforge.services import jobs

router = APIRouter(tags=["Training jobs"])


@router.post(
    "/v1/fine-tune",
    status_code=201,
    responses=answers(examples.FINE_TUNED, 400, 409, 413, 415, 422, status=201),
)
async def fine_tune(
    ctx: Ctx,
    body: Annotated[FineTuneRequest, Body(examples=[examples.FINE_TUNE_REQUEST])],
    key: Key,
) -> FineTuneResponse:
    """Queue a fine-tuning job."""
    return await jobs.fine_tune(ctx, body, key)
