"""Artifacts: charts, reports and logs that runs and missions leave."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from aiforge.api import examples, files, pagination
from aiforge.api.dependencies import ArtifactId, Ctx
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.artifacts import Artifact
from aiforge.schemas.common import Page
from aiforge.services import artifacts

router = APIRouter(tags=["Artifacts"])

Resource = Annotated[
    str | None,
    Query(
        alias="resourceId",
        max_length=64,
        description="Only artifacts about this job, model, dataset, mission or run.",
    ),
]
_CONTENT = files.declared(
    {
        "application/json": {"schema": {"type": "object"}, "example": examples.CHART},
        "text/markdown": {"schema": {"type": "string"}},
        "text/plain": {"schema": {"type": "string"}},
        "*/*": files.BINARY,
    }
)


@router.get("/artifacts", responses=answers([examples.ARTIFACT], paged=True))
async def list_artifacts(
    ctx: Ctx,
    response: Response,
    resource_id: Resource = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[Artifact]:
    """List artifacts, newest first."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await artifacts.list_page(ctx, page, resource_id), response)


@router.get("/artifacts/{artifact_id}", responses=answers(examples.ARTIFACT, 404))
async def get_artifact(ctx: Ctx, artifact_id: ArtifactId) -> Artifact:
    """Get what is known of an artifact."""
    return await artifacts.get(ctx, artifact_id)


@router.get(
    "/artifacts/{artifact_id}/content", response_class=StreamingResponse, responses=_CONTENT
)
async def get_artifact_content(
    ctx: Ctx, request: Request, artifact_id: ArtifactId, range: files.Range = None
) -> Response:
    """Get the content of an artifact, or a part of it."""
    artifact = await artifacts.get(ctx, artifact_id)
    return await files.answer(
        request,
        lambda start, end: artifacts.content(ctx, artifact, start, end),
        sha256=artifact.sha256,
        size=artifact.size,
        name=artifact.name,
        media_type=artifact.mime_type,
        shown="attachment" if artifact.type == "file" else "inline",
    )
