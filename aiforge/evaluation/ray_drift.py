"""Score a model on sets of examples in a Ray task of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from aiforge.evaluation.drift import Loss, example_losses
from aiforge.modeling.bases import BaseModel
from aiforge.storage import Storage


def measure_losses(
    base: BaseModel,
    adapter: str | None,
    sets: Mapping[str, Sequence[Mapping[str, Any]]],
    max_length: int,
    storage_uri: str,
) -> dict[str, list[Loss]]:
    """As ``example_losses``, where the cluster has room; ``adapter`` is a storage path."""
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=2)(_measure)
    try:
        measured: dict[str, list[Loss]] = ray.get(
            task.remote(base, adapter, sets, max_length, storage_uri)
        )
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    return measured


def _measure(
    base: BaseModel,
    adapter: str | None,
    sets: Mapping[str, Sequence[Mapping[str, Any]]],
    max_length: int,
    storage_uri: str,
) -> dict[str, list[Loss]]:
    import tempfile

    storage = Storage(storage_uri)
    with tempfile.TemporaryDirectory() as workspace:
        local = None if adapter is None else storage.download(adapter, Path(workspace) / "adapter")
        return example_losses(base, local, sets, max_length)
