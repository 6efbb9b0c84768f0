"""RAFT datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiforge.client._flow import Flow
from aiforge.client._flows.common import (
    Page,
    fetch,
    fetch_page,
    given,
    options,
    post,
    quoted,
    until,
)
from aiforge.client._flows.common import (
    delete as delete_at,
)
from aiforge.errors import Failure
from aiforge.schemas.common import Message
from aiforge.schemas.datasets import (
    Dataset,
    DatasetDetail,
    DatasetFormat,
    DatasetStatus,
    GenerateResponse,
)


def generate(
    name: str,
    source_ids: Sequence[str],
    *,
    format: DatasetFormat | None = None,
    max_examples: int | None = None,
    base_model: str | None = None,
    raft: Mapping[str, Any] | None = None,
) -> Flow[DatasetDetail]:
    """Begin to build a dataset from sources that have been read.

    What is ``None`` is left to the server.

    Args:
        format: How examples are rendered: ``alpaca``, ``chat``, ``sharegpt`` or ``completion``.
        base_model: Whose tokenizer measures chunks and examples.
        raft: Fields of ``aiforge.schemas.datasets.RaftConfig`` that differ from its defaults.

    Raises:
        InvalidInput: A source is unknown, or a value is out of its range.
        Conflict: A source has not been read yet.
    """
    body = given(
        name=name,
        source_ids=list(source_ids),
        format=format,
        max_examples=max_examples,
        base_model=base_model,
        raft=options(raft),
    )
    created = yield from post(GenerateResponse, "/datasets/generate", json=body)
    return (yield from get(created.dataset_id))


def list_(*, limit: int | None = None, offset: int | None = None) -> Flow[Page[Dataset]]:
    """The datasets, newest first; 50 unless ``limit`` (at most 500) says otherwise."""
    return fetch_page(Dataset, "/datasets", limit=limit, offset=offset)


def get(dataset_id: str) -> Flow[DatasetDetail]:
    """One dataset, with its first examples and the account of its build.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(DatasetDetail, f"/datasets/{quoted(dataset_id)}")


def delete(dataset_id: str) -> Flow[Message]:
    """Delete a dataset.

    Raises:
        Conflict: A job trains on it.
    """
    return delete_at(Message, f"/datasets/{quoted(dataset_id)}")


def wait(
    dataset_id: str, *, timeout: float | None = None, check: bool = True
) -> Flow[DatasetDetail]:
    """The dataset as soon as it is built.

    Args:
        timeout: Seconds to wait at most; for ever when absent.
        check: Raise if the build failed.

    Raises:
        Failure: The build failed; ``code`` and message say why.
        TimeoutError: It takes longer than ``timeout``.
    """
    dataset = yield from until(
        lambda: get(dataset_id),
        lambda d: d.status != DatasetStatus.GENERATING,
        timeout,
        dataset_id,
    )
    if check and dataset.status == DatasetStatus.FAILED:
        raise Failure(
            dataset.error or "The dataset could not be built.",
            code=dataset.error_code,
            datasetId=dataset.id,
        )
    return dataset
