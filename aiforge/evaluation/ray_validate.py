"""Measure base and tuned model side by side, each in a Ray task of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray

from aiforge.evaluation.perplexity import Perplexity
from aiforge.modeling.bases import BaseModel
from aiforge.storage import Storage

COLUMNS = ["instruction", "input", "output"]


def measure_perplexity(
    base: BaseModel, adapters: list[str | None], rows_path: str, max_length: int, storage_uri: str
) -> list[Perplexity]:
    """Perplexity of several models on the same rows.

    Args:
        base: The base model of all of them.
        adapters: For each model the storage path of its adapter; ``None`` is the base itself.
        rows_path: Storage path of a directory of Parquet files.
        max_length: Window in tokens.
        storage_uri: Where adapters and rows lie.

    Raises:
        Failure: Nothing can be scored.
    """
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=2)(_measure)
    pending = [
        task.remote(base, adapter, rows_path, max_length, storage_uri) for adapter in adapters
    ]
    try:
        return list(ray.get(pending))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def _measure(
    base: BaseModel, adapter: str | None, rows_path: str, max_length: int, storage_uri: str
) -> Perplexity:
    import tempfile

    from aiforge.evaluation.validate import evaluate_adapter

    storage = Storage(storage_uri)
    with tempfile.TemporaryDirectory() as workspace:
        local = None if adapter is None else storage.download(adapter, Path(workspace) / "adapter")
        return evaluate_adapter(base, local, read_rows(storage, rows_path), max_length)


def read_rows(storage: Storage, path: str) -> list[dict[str, Any]]:
    """The rows of a directory of Parquet files, the columns that a prompt is made of."""
    rows: list[dict[str, Any]] = []
    for name in storage.names(path):
        if name.endswith(".parquet"):
            table = pq.read_table(storage.open_input(f"{path}/{name}"), columns=COLUMNS)
            rows.extend(table.to_pylist())
    return rows
