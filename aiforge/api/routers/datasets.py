"""RAFT datasets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from aiforge.api import examples, pagination
from aiforge.api.dependencies import Ctx, DatasetId, Key
from aiforge.api.pagination import Limit, Offset
from aiforge.api.responses import answers
from aiforge.schemas.common import Message, Page
from aiforge.schemas.datasets import Dataset, DatasetDetail, GenerateRequest, GenerateResponse
from aiforge.services import datasets

router = APIRouter(tags=["Datasets"])


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


@router.delete("/datasets/{dataset_id}", responses=answers(examples.DELETED, 400, 404, 409))
async def delete_dataset(ctx: Ctx, dataset_id: DatasetId, key: Key) -> Message:
    """Delete a dataset that no job trains on."""
    return await datasets.delete(ctx, dataset_id, key)
