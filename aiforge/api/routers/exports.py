"""Exports of trained models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from aiforge.api import examples, files, pagination
from aiforge.api.dependencies import Actor, Ctx, ExportId, JobId, Key
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.exports import Export, ExportDetail, ExportRequest
from aiforge.services import exports

router = APIRouter(tags=["Exports"])

Wait = Annotated[
    float,
    Query(ge=0, le=600, description="Seconds after which the answer says `running`."),
]
FileName = Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

_FILE = files.declared({"application/octet-stream": files.BINARY}, 409)


@router.post(
    "/jobs/{job_id}/export",
    responses=answers(examples.EXPORT, 400, 404, 409, 413, 415, 422),
)
async def export_job(
    ctx: Ctx,
    job_id: JobId,
    body: Annotated[ExportRequest, Body(examples=[examples.EXPORT_REQUEST])],
    actor: Actor,
    key: Key,
    wait: Wait = 60.0,
) -> Export:
    """Export what a job trained, and deploy it to Ollama; what is there is not made again."""
    return await exports.create(ctx, job_id, body, wait, actor, key)


@router.get("/jobs/{job_id}/exports", responses=answers([examples.EXPORT], 404, paged=True))
async def list_exports(
    ctx: Ctx, response: Response, job_id: JobId, limit: Limit = 50, offset: Offset = 0
) -> list[Export]:
    """List the exports of a job, newest first."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await exports.list_page(ctx, job_id, page), response)


@router.get("/jobs/{job_id}/exports/{export_id}", responses=answers(examples.EXPORT_DETAIL, 404))
async def get_export(ctx: Ctx, job_id: JobId, export_id: ExportId) -> ExportDetail:
    """Get an export, with what was compared of it once it has completed."""
    return await exports.get(ctx, job_id, export_id)


@router.post(
    "/jobs/{job_id}/exports/{export_id}/cancel",
    responses=answers(examples.EXPORT_CANCELLED, 400, 404, 409),
)
async def cancel_export(ctx: Ctx, job_id: JobId, export_id: ExportId, key: Key) -> Message:
    """Stop an export that waits or is being made; to do so twice is no error."""
    return await exports.cancel(ctx, job_id, export_id, key)


@router.delete(
    "/jobs/{job_id}/exports/{export_id}", responses=answers(examples.DELETED, 400, 404, 409)
)
async def delete_export(ctx: Ctx, job_id: JobId, export_id: ExportId, key: Key) -> Message:
    """Delete an export that no model is served from, and its files."""
    return await exports.delete(ctx, job_id, export_id, key)


@router.get(
    "/jobs/{job_id}/exports/{export_id}/file", response_class=StreamingResponse, responses=_FILE
)
async def get_export_file(
    ctx: Ctx, request: Request, job_id: JobId, export_id: ExportId, range: files.Range = None
) -> Response:
    """Download what an export is about: its GGUF, or its weights."""
    return await _file(ctx, request, job_id, export_id, None)


@router.get(
    "/jobs/{job_id}/exports/{export_id}/files/{name}",
    response_class=StreamingResponse,
    responses=_FILE,
)
async def get_export_file_by_name(
    ctx: Ctx,
    request: Request,
    job_id: JobId,
    export_id: ExportId,
    name: FileName,
    range: files.Range = None,
) -> Response:
    """Download one of the files of an export."""
    return await _file(ctx, request, job_id, export_id, name)


async def _file(
    ctx: Ctx, request: Request, job_id: str, export_id: str, name: str | None
) -> Response:
    file = await exports.file(ctx, job_id, export_id, name)
    return await files.answer(
        request,
        lambda start, end: exports.content(ctx, export_id, file, start, end),
        sha256=file.sha256,
        size=file.size,
        name=file.name,
        media_type="application/octet-stream",
        shown="attachment",
    )
