"""Start of a training job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from aiforge.api import examples
from aiforge.api.dependencies import Ctx, Key
from aiforge.api.responses import answers, as_json
from aiforge.schemas.jobs import FineTuneRequest, FineTuneResponse
from aiforge.schemas.plans import TrainingPlan
from aiforge.services import jobs

router = APIRouter(tags=["Training jobs"])


DryRun = Annotated[
    bool,
    Query(
        alias="dryRun",
        description="Answer 200 with the plan of the job (memory, disk, data, time) and queue "
        "nothing.",
    ),
]


@router.post(
    "/v1/fine-tune",
    status_code=201,
    response_model=FineTuneResponse,
    responses={
        **answers(examples.FINE_TUNED, 400, 409, 413, 415, 422, status=201),
        200: {
            "model": TrainingPlan,
            "description": "The plan, where `dryRun` was asked for.",
            "content": {"application/json": {"example": examples.TRAINING_PLAN}},
        },
    },
)
async def fine_tune(
    ctx: Ctx,
    body: Annotated[FineTuneRequest, Body(examples=[examples.FINE_TUNE_REQUEST])],
    key: Key,
    dry_run: DryRun = False,
) -> Response:
    """Queue a fine-tuning job, or only plan it."""
    if dry_run:
        return as_json(await jobs.plan(ctx, body))
    return as_json(await jobs.fine_tune(ctx, body, key), status=201)
