"""Missions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response

from aiforge.api import mission_examples as examples
from aiforge.api.dependencies import Actor, Ctx, Key, MissionId
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.jobs import Name
from aiforge.schemas.missions import (
    ApproveRequest,
    MissionDetail,
    MissionList,
    MissionPolicy,
    MissionStatus,
    MissionType,
    RejectRequest,
    TrackRecord,
)
from aiforge.services import missions

router = APIRouter(tags=["Missions"])

Status = Annotated[MissionStatus | None, Query(description="Only missions of this status.")]
Type = Annotated[MissionType | None, Query(description="Only missions of this type.")]
Project = Annotated[
    str | None,
    Query(alias="projectName", max_length=100, description="Only missions of this project."),
]
ProjectName = Annotated[Name, Path(description="Name of a project.")]


@router.get("/missions", responses=answers(examples.MISSIONS, paged=True))
async def list_missions(
    ctx: Ctx,
    response: Response,
    status: Status = None,
    type: Type = None,
    project_name: Project = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> MissionList:
    """List missions, newest first."""
    page = Page(limit=limit, offset=offset)
    found = await missions.list_page(ctx, page, status, type, project_name)
    response.headers["X-Total-Count"] = str(found.total)
    return found


@router.get("/missions/{mission_id}", responses=answers(examples.MISSION, 404))
async def get_mission(ctx: Ctx, mission_id: MissionId) -> MissionDetail:
    """Get a mission with its evidence, its action and what came of it."""
    return await missions.get(ctx, mission_id)


@router.post(
    "/missions/{mission_id}/approve",
    responses=answers(examples.APPROVED, 400, 404, 409, 413, 415, 422),
)
async def approve_mission(
    ctx: Ctx,
    mission_id: MissionId,
    actor: Actor,
    key: Key,
    body: Annotated[ApproveRequest | None, Body(examples=[examples.APPROVE_REQUEST])] = None,
) -> Message:
    """Approve a mission; its action is then carried out, once."""
    return await missions.approve(ctx, mission_id, body or ApproveRequest(), actor, key)


@router.post(
    "/missions/{mission_id}/reject",
    responses=answers(examples.REJECTED, 400, 404, 409, 413, 415, 422),
)
async def reject_mission(
    ctx: Ctx,
    mission_id: MissionId,
    body: Annotated[RejectRequest, Body(examples=[examples.REJECT_REQUEST])],
    actor: Actor,
    key: Key,
) -> Message:
    """Reject a mission; the same is proposed again only once its evidence has grown."""
    return await missions.reject(ctx, mission_id, body, actor, key)


@router.get(
    "/projects/{project_name}/mission-policy",
    responses=answers(examples.MISSION_POLICY, 400, 422),
)
async def get_mission_policy(ctx: Ctx, project_name: ProjectName) -> MissionPolicy:
    """Get what is watched in a project."""
    return await missions.get_policy(ctx, project_name)


@router.put(
    "/projects/{project_name}/mission-policy",
    responses=answers(examples.MISSION_POLICY, 400, 409, 413, 415, 422),
)
async def put_mission_policy(
    ctx: Ctx,
    project_name: ProjectName,
    body: Annotated[MissionPolicy, Body(examples=[examples.MISSION_POLICY])],
    actor: Actor,
    key: Key,
) -> MissionPolicy:
    """Replace what is watched in a project; what is left out takes its default."""
    return await missions.put_policy(ctx, project_name, body, actor, key)


@router.get(
    "/projects/{project_name}/track-record",
    responses=answers(examples.TRACK_RECORD, 400, 422),
)
async def get_track_record(ctx: Ctx, project_name: ProjectName) -> TrackRecord:
    """Get how a project's missions fared."""
    return await missions.get_track_record(ctx, project_name)
