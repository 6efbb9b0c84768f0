"""The audit trail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Ctx
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.access import AuditEntry, AuditOutcome
from aiforge.schemas.common import Page
from aiforge.services import audit
from aiforge.state.audit import AuditFilter

router = APIRouter(tags=["Access"])

By = Annotated[
    str | None,
    Query(max_length=200, description="Only what this one did, `key-…` or `token:<subject>`."),
]
Resource = Annotated[
    str | None,
    Query(alias="resourceId", max_length=64, description="Only what touched this resource."),
]
RequestId = Annotated[
    str | None, Query(alias="requestId", max_length=128, description="Only this request.")
]
Outcome = Annotated[AuditOutcome | None, Query(description="Only requests that ended so.")]
Since = Annotated[AwareDatetime | None, Query(description="From this moment on.")]
Until = Annotated[AwareDatetime | None, Query(description="Before this moment.")]


@router.get("/audit", responses=answers([examples.AUDIT_ENTRY], paged=True))
async def list_audit(
    ctx: Ctx,
    response: Response,
    principal: By = None,
    resource_id: Resource = None,
    request_id: RequestId = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[AuditEntry]:
    """List who did what, when and from where, newest first."""
    wanted = AuditFilter(
        principal=principal,
        resource_id=resource_id,
        request_id=request_id,
        outcome=outcome,
        since=since,
        until=until,
    )
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await audit.list_page(ctx, page, wanted), response)
