"""Data sources: repositories, directories and uploads."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ValidationError

from aiforge.api import examples, multipart, pagination
from aiforge.api.dependencies import Ctx, Key, KeyHeader, SourceId, request_key
from aiforge.api.errors import media_type, validation_error
from aiforge.api.openapi import schema_of
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.errors import Rejected, SchemaViolation
from aiforge.schemas.common import Message, Page
from aiforge.schemas.sources import (
    GitSourceRequest,
    Source,
    SourceCreated,
    SourceFile,
    SourceUpdate,
    SyncStarted,
    UploadFields,
)
from aiforge.services import sources
from aiforge.services.context import Services
from aiforge.sources import uploads
from aiforge.state.store import RequestKey
from aiforge.storage import Storage

router = APIRouter(tags=["Data sources"])

Model = TypeVar("Model", bound=BaseModel)

_FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["files"],
    "additionalProperties": False,
    "properties": {
        "files": {
            "type": "array",
            "minItems": 1,
            "maxItems": multipart.MAX_FILES,
            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
            "description": "Files; `.zip` and `.tar.gz` archives are unpacked.",
        },
        "name": {"type": "string", "minLength": 1, "maxLength": 200},
        "includePatterns": {
            "type": "string",
            "description": "In gitignore syntax, separated by commas or line breaks.",
        },
        "excludePatterns": {
            "type": "string",
            "description": "In gitignore syntax, separated by commas or line breaks.",
        },
    },
}

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": schema_of(GitSourceRequest),
                "examples": {"repository": {"value": examples.SOURCE_REQUEST}},
            },
            multipart.MEDIA_TYPE: {
                "schema": _FORM_SCHEMA,
                "examples": {"files": {"value": examples.UPLOAD_FORM}},
            },
        },
    }
}


@router.get("/data-sources", responses=answers([examples.SOURCE], paged=True))
async def list_data_sources(
    ctx: Ctx, response: Response, limit: Limit = 50, offset: Offset = 0
) -> list[Source]:
    """List data sources, newest first."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await sources.list_page(ctx, page), response)


@router.post(
    "/data-sources",
    status_code=201,
    responses=answers(examples.SOURCE_CREATED, 400, 409, 413, 415, 422, status=201),
    openapi_extra=_BODY,
)
async def create_data_source(
    ctx: Ctx, request: Request, idempotency_key: KeyHeader = None
) -> SourceCreated:
    """Register a repository (JSON) or upload files (a form), and begin to read them."""
    match media_type(request):
        case "application/json":
            body = await request.body()
            key = request_key(request, idempotency_key, body) if idempotency_key else None
            return await sources.create_git(ctx, _parse(GitSourceRequest, body), key)
        case multipart.MEDIA_TYPE:
            async with multipart.receive(request, "files") as form:
                key = (
                    request_key(request, idempotency_key, form.fingerprint)
                    if idempotency_key
                    else None
                )
                return await _upload(ctx, form, key)
        case other:
            raise Rejected(
                f"{other or 'No Content-Type'} is not accepted here; send application/json for "
                f"a repository, or {multipart.MEDIA_TYPE} for files.",
                code="unsupported_media_type",
            )


async def _upload(ctx: Services, form: multipart.Form, key: RequestKey | None) -> SourceCreated:
    fields = _parse(UploadFields, form.fields)
    if not form.files:
        raise SchemaViolation("The form holds no files.", field="files", error="Required")

    def store(storage: Storage, source_id: str) -> None:
        uploads.receive(storage, source_id, form.files)

    return await sources.create_upload(
        ctx,
        fields.name or form.files[0][0][:200] or "upload",
        store,
        include_patterns=fields.include_patterns,
        exclude_patterns=fields.exclude_patterns,
        key=key,
    )


def _parse(model: type[Model], given: bytes | dict[str, str]) -> Model:
    try:
        if isinstance(given, bytes):
            return model.model_validate_json(given)
        return model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise validation_error(found, model.model_json_schema()) from error


@router.get("/data-sources/{source_id}", responses=answers(examples.SOURCE, 404))
async def get_data_source(ctx: Ctx, source_id: SourceId) -> Source:
    """Get a data source, with the progress of its sync."""
    return await sources.get(ctx, source_id)


@router.patch(
    "/data-sources/{source_id}", responses=answers(examples.SOURCE, 400, 404, 409, 413, 415, 422)
)
async def update_data_source(
    ctx: Ctx,
    source_id: SourceId,
    body: Annotated[SourceUpdate, Body(examples=[examples.SOURCE_UPDATE])],
    key: Key,
) -> Source:
    """Change how often a data source is read again by itself."""
    return await sources.update(ctx, source_id, body, key)


@router.get(
    "/data-sources/{source_id}/files", responses=answers([examples.FILE], 404, 409, paged=True)
)
async def list_data_source_files(
    ctx: Ctx, response: Response, source_id: SourceId, limit: Limit = 50, offset: Offset = 0
) -> list[SourceFile]:
    """List what was read of a data source, and what was skipped and why."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await sources.files(ctx, source_id, page), response)


@router.post(
    "/data-sources/{source_id}/sync", responses=answers(examples.SYNC_STARTED, 400, 404, 409)
)
async def sync_data_source(ctx: Ctx, source_id: SourceId, key: Key) -> SyncStarted:
    """Read a data source again."""
    return await sources.sync(ctx, source_id, key)


@router.delete("/data-sources/{source_id}", responses=answers(examples.DELETED, 400, 404, 409))
async def delete_data_source(ctx: Ctx, source_id: SourceId, key: Key) -> Message:
    """Delete a data source that nothing uses."""
    return await sources.delete(ctx, source_id, key)
