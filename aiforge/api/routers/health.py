"""Whether the platform is well, and what it occupies."""

from __future__ import annotations

from fastapi import APIRouter, Response

from aiforge.api import examples
from aiforge.api.dependencies import Ctx
from aiforge.api.responses import answers
from aiforge.schemas.health import Health, SystemStatus
from aiforge.services import system

router = APIRouter(tags=["Health"])

_HEALTH = answers(examples.HEALTH)
_HEALTH[503] = {
    "model": Health,
    "description": "The platform cannot work.",
    "content": {"application/json": {"example": examples.HEALTH | {"status": "unhealthy"}}},
}


@router.get("/health", responses=_HEALTH)
async def get_health(ctx: Ctx, response: Response) -> Health:
    """Probe what the platform depends on; 503 where it cannot work."""
    health = await system.health(ctx)
    if health.status == "unhealthy":
        response.status_code = 503
    return health


@router.get("/status", responses=answers(examples.STATUS))
async def get_status(ctx: Ctx) -> SystemStatus:
    """Tell version, resources and running jobs."""
    return await system.status(ctx)
