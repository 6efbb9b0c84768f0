"""Tokenise and pack a dataset with Ray Data, once for all jobs that would do the same."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from functools import partial
from typing import Any

import ray

from aiforge.storage import Storage
from aiforge.training.plan import Reporter, TrainPlan
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
