"""RAFT datasets."""

from __future__ import annotations

import asyncio

from aiforge.errors import NotFound
from aiforge.modeling.bases import resolve_base_model
from aiforge.raft.teacher_http import Address, key_variable, parse_endpoint
from aiforge.schemas.common import Listing, Message, Page
from aiforge.schemas.datasets import (
    Dataset,
    DatasetDetail,
    DatasetStatus,
    GenerateRequest,
    GenerateResponse,
    TeacherConfig,
    YieldReport,
)
from aiforge.services import preflight
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state import datasets, removals
from aiforge.state.store import RequestKey
from aiforge.storage import Storage, dataset_dir


async def generate(
    services: Services, request: GenerateRequest, key: RequestKey | None = None
) -> GenerateResponse:
    """Queue the build of a dataset.

    Args:
        key: Of an ``Idempotency-Key``; the same one again returns the same dataset.

    Raises:
        InvalidInput: A source or the base model does not exist, or the teacher may not be asked.
        Conflict: A source is not synced, or the key was used for another request.
        Unavailable: The disk is full.
    """
    await services.require_visible(request.source_ids, "source")
    await asyncio.to_thread(_check, services, request)
    dataset = await services.state.once(key).call(datasets.create, request, preflight.GENERATE)
    return GenerateResponse(dataset_id=dataset.id, status=dataset.status)


def _check(services: Services, request: GenerateRequest) -> None:
    resolve_base_model(request.base_model, services.settings)
    if request.teacher is not None:
        teacher_access(request.teacher, services.settings)
    preflight.require_disk(services.settings, services.storage)


def teacher_access(config: TeacherConfig, settings: Settings) -> tuple[Address | None, str | None]:
    """Where a teacher is asked, and the variable that holds its key.

    Raises:
        InvalidInput: ``url_invalid``, ``url_has_credentials``, ``url_not_allowed``,
            ``key_not_bound`` or ``key_missing``.
    """
    if config.url is None:
        return None, None
    address = parse_endpoint(config.url, settings.trusted_teacher_hosts)
    return address, key_variable(config, address, settings.teacher_keys)


async def list_page(services: Services, page: Page) -> Listing[Dataset]:
    """Datasets, newest first."""
    return await services.state.call(datasets.page, page.limit, page.offset, services.projects)


async def get(services: Services, dataset_id: str) -> DatasetDetail:
    """One dataset, or ``NotFound``; once it is ready, with examples and the report."""
    dataset = await services.state.call(datasets.get, dataset_id)
    detail = DatasetDetail(**dataset.model_dump(by_alias=False))
    if dataset.status is DatasetStatus.READY:
        await asyncio.to_thread(_add_files, services.storage, detail)
    return detail


def _add_files(storage: Storage, detail: DatasetDetail) -> None:
    directory = dataset_dir(detail.id)
    try:
        detail.preview = storage.read_json(f"{directory}/preview.json")
        detail.report = YieldReport.model_validate(storage.read_json(f"{directory}/report.json"))
    except NotFound:
        # It was deleted between the two looks, or by hand; its row still tells what it was.
        return


async def delete(services: Services, dataset_id: str, key: RequestKey | None = None) -> Message:
    """Delete a dataset and its files.

    Raises:
        NotFound: There is no such dataset.
        Conflict: It is being built, or a job trains on it.
    """
    await services.state.once(key).call(removals.delete_dataset, dataset_id)
    await asyncio.to_thread(services.storage.delete, dataset_dir(dataset_id))
    return Message(message="Deleted")
