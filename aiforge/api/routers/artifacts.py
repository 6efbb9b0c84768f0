"""Artifacts: charts, reports and logs that runs and missions leave."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from aiforge.api import examples, pagination, ranges
from aiforge.api.dependencies import ArtifactId, Ctx
from aiforge.api.errors import render
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import Responses, answers
from aiforge.errors import Rejected
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
Range = Annotated[
    str | None, Header(alias="Range", description="The bytes that are wanted, `bytes=0-1023`.")
]

_ETAG = {"ETag": {"description": "Hash of the content.", "schema": {"type": "string"}}}


def _content() -> Responses:
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    media: dict[str, Any] = {
        "application/json": {"schema": {"type": "object"}, "example": examples.CHART},
        "text/markdown": {"schema": {"type": "string"}},
        "text/plain": {"schema": {"type": "string"}},
        "*/*": binary,
    }
    declared = answers(None, 404, 416)
    declared[200] = {"description": "The content.", "headers": _ETAG, "content": media}
    part = {"Content-Range": {"description": "Which bytes.", "schema": {"type": "string"}}}
    declared[206] = {
        "description": "The part that `Range` asks for.",
        "headers": _ETAG | part,
        "content": {"*/*": binary},
    }
    declared[304] = {"description": "`If-None-Match` names the content as it is."}
    return declared


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
    "/artifacts/{artifact_id}/content", response_class=StreamingResponse, responses=_content()
)
async def get_artifact_content(
    ctx: Ctx, request: Request, artifact_id: ArtifactId, range: Range = None
) -> Response:
    """Get the content of an artifact, or a part of it."""
    artifact = await artifacts.get(ctx, artifact_id)
    headers = _headers(artifact)
    if ranges.has(request.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        part = ranges.wanted(request.headers, artifact.size, headers["ETag"])
    except Rejected as error:
        refused = render(request.scope, error)
        refused.headers["Content-Range"] = f"bytes */{artifact.size}"
        return refused
    start, end = part or (0, artifact.size)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{artifact.size}"
    return StreamingResponse(
        await artifacts.content(ctx, artifact, start, end),
        status_code=206 if part else 200,
        headers=headers,
        media_type=artifact.mime_type,
    )


def _headers(artifact: Artifact) -> dict[str, str]:
    """A browser must neither guess another type nor run what a repository put into a file."""
    shown = "attachment" if artifact.type == "file" else "inline"
    return {
        "ETag": f'"{artifact.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(artifact.name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
