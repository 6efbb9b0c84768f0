"""A plan tried in small: a sample of its data, and one pass through layers of the model's size."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow.parquet as pq
import torch

from aiforge.errors import Conflict
from aiforge.modeling.bases import local_directory
from aiforge.modeling.load import load_tokenizer, model_class
from aiforge.modeling.lora import inject
from aiforge.modeling.prompts import encode_example
from aiforge.storage import Storage
from aiforge.training import attention
from aiforge.training.data import Row, collate, document, pack
from aiforge.training.loss import CausalLoss
from aiforge.training.plan import Probe, TrainPlan
from aiforge.training.prepare import COLUMNS, dataset_files

SAMPLE = 256
REPEATS = 3


def probe(plan: TrainPlan, device: torch.device) -> Probe:
    """Measure a plan on a device.

    Raises:
        Conflict: Nothing of the sample can be trained on.
    """
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // plan.config.num_workers))
    storage = Storage(plan.storage_uri)
    files = [f for f in dataset_files(storage, plan.dataset_path) if f.startswith("train/")]
    examples = sum(_rows(storage, plan, file) for file in files)
    tokenizer = load_tokenizer(plan.base)
    sampled = list(islice(_examples(storage, plan, files), SAMPLE))
    encoded = [encode_example(tokenizer, example, plan.max_length) for example in sampled]
    kept = [item for item in encoded if item is not None]
    if not kept:
        raise Conflict(
            f"None of the first {len(sampled)} examples of the dataset can be trained on.",
            code="dataset_empty",
        )
    rows = pack([document(item.input_ids, item.labels) for item in kept], plan.max_length)
    return Probe(
        examples=examples,
        sampled=len(sampled),
        dropped=len(sampled) - len(kept),
        truncated=sum(item.truncated for item in kept),
        tokens=sum(len(item.input_ids) for item in kept),
        trained=sum(item.trained for item in kept),
        rows=len(rows),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        seconds_per_micro_batch=_seconds(plan, rows[: plan.config.batch_size], device),
    )


def _rows(storage: Storage, plan: TrainPlan, file: str) -> int:
    with storage.open_input(f"{plan.dataset_path}/{file}") as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def _examples(storage: Storage, plan: TrainPlan, files: list[str]) -> Iterator[Mapping[str, Any]]:
    for file in files:
        with storage.open_input(f"{plan.dataset_path}/{file}") as stream:
            for batch in pq.ParquetFile(stream).iter_batches(SAMPLE, columns=COLUMNS):
                yield from batch.to_pylist()


def _seconds(plan: TrainPlan, rows: list[Row], device: torch.device) -> float:
    """Forward and backward of one micro-batch, from models of one layer and of two."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(local_directory(plan.base), trust_remote_code=False)
    layers: int = config.num_hidden_layers
    one, two = (_timed(plan, config, count, rows, device) for count in (1, 2))
    passes = 4 / 3 if plan.config.activation_checkpointing else 1.0
    return (one + (layers - 1) * max(0.0, two - one)) * passes


def _timed(
    plan: TrainPlan, config: Any, layers: int, rows: list[Row], device: torch.device
) -> float:
    config.num_hidden_layers = layers
    config._attn_implementation = attention.register()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model: Any = model_class(plan.base)(config).to(device, dtype)
    if plan.config.method != "full":
        targets, rank = plan.config.target_modules, plan.config.rank
        inject(model, rank=rank, alpha=rank, targets=targets)
    module, batch = CausalLoss(model), collate(rows).to(device)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        module(batch).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times)
