"""RAFT datasets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from aiforge.errors import Conflict, NotFound
from aiforge.modeling.bases import resolve_base_model
from aiforge.raft.formats import render_row
from aiforge.raft.teacher_http import Address, key_variable, parse_endpoint
from aiforge.schemas.common import Listing, Message, Page
from aiforge.schemas.datasets import (
    Dataset,
    DatasetDetail,
    DatasetFormat,
    DatasetStatus,
    GenerateRequest,
    GenerateResponse,
    Split,
    TeacherConfig,
    YieldReport,
)
from aiforge.services import preflight
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state import datasets, outcomes, removals
from aiforge.state.store import RequestKey
from aiforge.storage import Storage, dataset_dir

_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Export:
    """Examples on their way out, and what a file of them would be called."""

    name: str
    lines: Iterator[bytes]


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


async def export(
    services: Services, dataset_id: str, split: Split, format: DatasetFormat | None
) -> Export:
    """The examples of a dataset as lines of JSON.

    Args:
        format: The dataset's own when absent.

    Raises:
        NotFound: There is no such dataset.
        Conflict: It is not ready.
    """
    dataset = await services.state.call(datasets.get, dataset_id)
    if dataset.status is not DatasetStatus.READY:
        raise Conflict(
            f"{dataset_id} is {dataset.status}; only a dataset that is ready can be exported.",
            code="dataset_not_ready",
        )
    splits = ("train", "validation") if split == "all" else (split,)
    lines = _lines(services.storage, dataset_id, splits, format or dataset.format)
    return Export(f"{dataset_id}-{split}.jsonl", lines)


def _lines(
    storage: Storage, dataset_id: str, splits: Sequence[str], format: DatasetFormat
) -> Iterator[bytes]:
    """Lines of JSON, some hundred at a time; one batch of rows is held."""
    for split in splits:
        directory = f"{dataset_dir(dataset_id)}/{split}"
        for name in storage.names(directory):
            with storage.open_input(f"{directory}/{name}") as stream:
                for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE):
                    yield b"".join(_line(row, format) for row in batch.to_pylist())


def _line(row: Mapping[str, Any], format: DatasetFormat) -> bytes:
    rendered = render_row(row, format) | {"kind": row["kind"], "id": row["id"]}
    return json.dumps(rendered, ensure_ascii=False).encode(errors="replace") + b"\n"


async def cancel(services: Services, dataset_id: str, key: RequestKey | None = None) -> Message:
    """Cancel the build of a dataset, which then has failed; to do so twice is no error.

    Raises:
        NotFound: There is no such dataset.
        Conflict: It is ready or has failed.
    """
    run_id = await services.state.call(datasets.run_of, dataset_id)
    await services.state.once(key).call(outcomes.cancel, run_id)
    return Message(message="Build cancelled")


async def delete(services: Services, dataset_id: str, key: RequestKey | None = None) -> Message:
    """Delete a dataset and its files.

    Raises:
        NotFound: There is no such dataset.
        Conflict: It is being built, or a job trains on it.
    """
    await services.state.once(key).call(removals.delete_dataset, dataset_id)
    await asyncio.to_thread(services.storage.delete, dataset_dir(dataset_id))
    return Message(message="Deleted")
