"""RAFT datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from aiforge.client._flow import Call, Emit, Flow, ItemFlow, Open, Read, Stream
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
from aiforge.client._retry import error_of, unreachable
from aiforge.errors import Failure
from aiforge.schemas.common import Message
from aiforge.schemas.datasets import (
    Dataset,
    DatasetDetail,
    DatasetFormat,
    DatasetStatus,
    GenerateResponse,
    Split,
)


def generate(
    name: str,
    source_ids: Sequence[str],
    *,
    format: DatasetFormat | None = None,
    max_examples: int | None = None,
    base_model: str | None = None,
    raft: Mapping[str, Any] | None = None,
    teacher: Mapping[str, Any] | None = None,
) -> Flow[DatasetDetail]:
    """Begin to build a dataset from sources that have been read.

    What is ``None`` is left to the server.

    Args:
        format: How examples are rendered: ``alpaca``, ``chat``, ``sharegpt`` or ``completion``.
        base_model: Whose tokenizer measures chunks and examples.
        raft: Fields of ``aiforge.schemas.datasets.RaftConfig`` that differ from its defaults.
        teacher: A model that writes questions: fields of
            ``aiforge.schemas.datasets.TeacherConfig``, ``url`` and ``model`` at least.

    Raises:
        InvalidInput: A source is unknown, a value is out of its range, or the teacher may not be
            asked.
        Conflict: A source has not been read yet.
    """
    body = given(
        name=name,
        source_ids=list(source_ids),
        format=format,
        max_examples=max_examples,
        base_model=base_model,
        raft=options(raft),
        teacher=options(teacher),
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


def examples(
    dataset_id: str, *, split: Split = "train", format: DatasetFormat | None = None
) -> ItemFlow[dict[str, Any]]:
    """The examples of a dataset, one by one as they arrive.

    Args:
        split: ``train``, ``validation`` or ``all``.
        format: Their shape; the dataset's own when absent.

    Raises:
        NotFound: There is no such dataset.
        Conflict: It is not ready.
        ServerUnreachable: Nothing answers, or the connection broke; begin again.
    """
    path = f"/datasets/{quoted(dataset_id)}/export"
    call = Call("GET", path, params=given(split=split, format=format))
    try:
        source: Stream = yield Open(call)
        if source.response.is_error:
            raise error_of(source.response)
        rest = b""
        while chunk := (yield Read(source)):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield Emit(json.loads(line))
    except httpx.TransportError as error:
        raise unreachable(error) from error


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
