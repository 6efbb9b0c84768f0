"""RAFT datasets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import StreamingResponse

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Ctx, DatasetId, Key
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import Responses, answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.datasets import (
    Dataset,
    DatasetDetail,
    DatasetFormat,
    GenerateRequest,
    GenerateResponse,
    Split,
)
from aiforge.services import datasets

router = APIRouter(tags=["Datasets"])

_LINES: Responses = {
    **answers(None, 404, 409, 422),
    200: {
        "description": "Examples, one JSON object per line.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    },
}


@router.get("/datasets", responses=answers([examples.DATASET], paged=True))
async def list_datasets(
    ctx: Ctx, response: Response, limit: Limit = 50, offset: Offset = 0
) -> list[Dataset]:
    """List datasets, newest first."""
    page = Page(limit=limit, offset=offset)
    return pagination.answer(await datasets.list_page(ctx, page), response)


@router.post(
    "/datasets/generate",
    status_code=201,
    responses=answers(examples.GENERATED, 400, 409, 413, 415, 422, status=201),
)
async def generate_dataset(
    ctx: Ctx,
    body: Annotated[GenerateRequest, Body(examples=[examples.GENERATE_REQUEST])],
    key: Key,
) -> GenerateResponse:
    """Build a dataset from sources by RAFT."""
    return await datasets.generate(ctx, body, key)


@router.get("/datasets/{dataset_id}", responses=answers(examples.DATASET_DETAIL, 404))
async def get_dataset(ctx: Ctx, dataset_id: DatasetId) -> DatasetDetail:
    """Get a dataset with its first examples."""
    return await datasets.get(ctx, dataset_id)


@router.get(
    "/datasets/{dataset_id}/export",
    response_class=StreamingResponse,
    responses=_LINES,
)
async def export_dataset(
    ctx: Ctx,
    dataset_id: DatasetId,
    split: Annotated[Split, Query(description="Which examples.")] = "train",
    format: Annotated[
        DatasetFormat | None, Query(description="Their shape; the dataset's own when absent.")
    ] = None,
) -> StreamingResponse:
    """Get the examples of a dataset, one JSON object per line."""
    export = await datasets.export(ctx, dataset_id, split, format)
    return StreamingResponse(
        export.lines,
        media_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="{export.name}"'},
    )


@router.post(
    "/datasets/{dataset_id}/cancel", responses=answers(examples.BUILD_CANCELLED, 400, 404, 409)
)
async def cancel_dataset(ctx: Ctx, dataset_id: DatasetId, key: Key) -> Message:
    """Cancel the build of a dataset; to do so twice is no error."""
    return await datasets.cancel(ctx, dataset_id, key)


@router.delete("/datasets/{dataset_id}", responses=answers(examples.DELETED, 400, 404, 409))
async def delete_dataset(ctx: Ctx, dataset_id: DatasetId, key: Key) -> Message:
    """Delete a dataset that no job trains on."""
    return await datasets.delete(ctx, dataset_id, key)
