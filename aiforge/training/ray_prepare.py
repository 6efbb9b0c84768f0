"""What is done on the cluster before training: packing a dataset once for all, and probing."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from functools import partial
from typing import Any

import ray

from aiforge.errors import AIForgeError
from aiforge.storage import Storage
from aiforge.training.plan import Probe, Reporter, TrainPlan
from aiforge.training.prepare import (
    PackStats,
    Prepared,
    check,
    dataset_files,
    describe,
    find_prepared,
    finish,
    pack_file,
    pack_key,
)

CPUS_PER_TASK = 0.5
"""Low, so that packing goes on where other runs hold most of a small machine."""

BYTES_PER_TASK = 8 << 20
"""Compressed examples per task; a process costs seconds before it packs its first."""


def prepare(plan: TrainPlan, reporter: Reporter) -> Prepared:
    """The packed rows of a plan's dataset, from the cache where they are there.

    Raises:
        InvalidInput: Nothing can be learned from the dataset.
    """
    storage = Storage(plan.storage_uri)
    key = pack_key(storage, plan)
    prepared = find_prepared(storage, key)
    if prepared is None:
        files = dataset_files(storage, plan.dataset_path)
        prepared = finish(storage, key, _pack(plan, key, files) if files else [])
    else:
        reporter.log("The dataset was tokenised and packed before; its rows are used again")
    check(prepared)
    reporter.log(describe(prepared, plan.max_length))
    reporter.log(f"First example, trained tokens between ⟦ and ⟧:\n{prepared.train.first}")
    return prepared


def _pack(plan: TrainPlan, key: str, files: list[str]) -> list[tuple[str, PackStats]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    size = sum(Storage(plan.storage_uri).size(f"{plan.dataset_path}/{file}") for file in files)
    blocks = min(len(files), 1 + size // BYTES_PER_TASK)
    items = ray.data.from_items([{"file": file} for file in files], override_num_blocks=blocks)
    packed = items.map(partial(_pack_row, plan, key), num_cpus=CPUS_PER_TASK)
    return [(row["file"], PackStats(**json.loads(row["stats"]))) for row in packed.take_all()]


def _pack_row(plan: TrainPlan, key: str, row: dict[str, Any]) -> dict[str, Any]:
    stats = pack_file(Storage(plan.storage_uri), plan, key, row["file"])
    return {"file": row["file"], "stats": json.dumps(asdict(stats))}


async def probe_on_cluster(plan: TrainPlan) -> Probe:
    """Measure a plan in a task, on a GPU where the cluster has any."""
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(_probe).options(num_cpus=0, num_gpus=gpus, max_retries=0)
    try:
        probed: Probe = await task.remote(plan)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AIForgeError):
            raise error.cause from error
        raise
    return probed


def _probe(plan: TrainPlan) -> Probe:
    import torch

    from aiforge.training.probe import probe

    return probe(plan, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
