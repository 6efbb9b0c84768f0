"""The model registry."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Actor, Ctx, Key, ModelId
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.models import (
    DeployResponse,
    Lineage,
    Model,
    ModelActionRequest,
    ModelActionResponse,
    ModelChange,
    ModelStatus,
)
from aiforge.services import models

router = APIRouter(tags=["Models"])

Status = Annotated[ModelStatus | None, Query(description="Only models of this status.")]
Project = Annotated[
    str | None,
    Query(alias="projectName", max_length=100, description="Only models of this project."),
]
Reason = Annotated[
    str | None,
    Query(
        max_length=1000,
        pattern=r"^[^\x00]*$",
        description="Why; kept in the model's history.",
    ),
]

Wait = Annotated[
    float, Query(ge=0, le=600, description="Seconds to wait until it is done, at most.")
]
Action = Annotated[ModelActionRequest | None, Body(examples=[{"reason": "Knows the new parser."}])]


@router.get("/models", responses=answers([examples.MODEL], paged=True))
async def list_models(
    ctx: Ctx,
    response: Response,
    status: Status = None,
    project_name: Project = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[Model]:
    """List models, newest first."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await models.list_page(ctx, page, project_name, status), response)


@router.get("/models/active", responses=answers(examples.MODEL, 400, 404))
async def get_active_model(ctx: Ctx, project_name: Project = None) -> Model:
    """Get the active model of a project; of all projects the one that was activated last."""
    return await models.active(ctx, project_name)


@router.get("/models/{model_id}", responses=answers(examples.MODEL, 404))
async def get_model(ctx: Ctx, model_id: ModelId) -> Model:
    """Get a model."""
    return await models.get(ctx, model_id)


@router.get("/models/{model_id}/lineage", responses=answers(examples.LINEAGE, 404))
async def get_model_lineage(ctx: Ctx, model_id: ModelId) -> Lineage:
    """Get the job, the dataset and the commits that a model comes from."""
    return await models.lineage(ctx, model_id)


@router.get("/models/{model_id}/history", responses=answers([examples.MODEL_CHANGE], 404))
async def get_model_history(ctx: Ctx, model_id: ModelId) -> list[ModelChange]:
    """Get what was done to a model, by whom and why, oldest first; also of a deleted one."""
    return await models.history(ctx, model_id)


@router.post(
    "/models/{model_id}/deploy",
    responses=answers(examples.DEPLOYED, 400, 404, 409, 413, 415, 422),
)
async def deploy_model(
    ctx: Ctx, model_id: ModelId, actor: Actor, key: Key, body: Action = None, wait: Wait = 60
) -> DeployResponse:
    """Deploy a model to Ollama, verified through the server; exported first where need be."""
    return await models.deploy(ctx, model_id, body or ModelActionRequest(), actor, wait, key)


@router.post(
    "/models/{model_id}/activate",
    responses=answers(examples.ACTIVATED, 400, 404, 409, 413, 415, 422),
)
async def activate_model(
    ctx: Ctx, model_id: ModelId, actor: Actor, key: Key, body: Action = None, wait: Wait = 60
) -> ModelActionResponse:
    """Make a model the active one of its project, once it was seen to answer."""
    return await models.activate(ctx, model_id, body or ModelActionRequest(), actor, wait, key)


@router.post(
    "/models/{model_id}/rollback",
    responses=answers(examples.ROLLED_BACK, 400, 404, 409, 413, 415, 422),
)
async def roll_back_model(
    ctx: Ctx, model_id: ModelId, actor: Actor, key: Key, body: Action = None, wait: Wait = 60
) -> ModelActionResponse:
    """Return from the active model to the version that was active before."""
    return await models.rollback(ctx, model_id, body or ModelActionRequest(), actor, wait, key)


@router.delete("/models/{model_id}", responses=answers(examples.DELETED, 400, 404, 409))
async def delete_model(
    ctx: Ctx, model_id: ModelId, actor: Actor, key: Key, reason: Reason = None
) -> Message:
    """Delete a model that is not active; its history stays."""
    return await models.delete(ctx, model_id, ModelActionRequest(reason=reason), actor, key)
