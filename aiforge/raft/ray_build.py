"""Dataset builds on a Ray cluster: the stages of ``build`` as Ray Data pipelines."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext

from aiforge.raft.build import Build, BuildResult, Progress, SnapshotRef
from aiforge.raft.stages import Item, Shared
from aiforge.schemas.datasets import DatasetFormat, RaftConfig
from aiforge.storage import Storage

__all__ = ["BuildResult", "SnapshotRef", "build_dataset"]

# Enough for every node to have some, few enough for the scheduler not to matter.
_MAX_BLOCKS = 512


def build_dataset(
    storage_uri: str,
    dataset_id: str,
    snapshots: list[SnapshotRef],
    *,
    config: RaftConfig,
    max_examples: int,
    format: DatasetFormat,
    tokenizer_json: str,
    progress: Progress,
) -> BuildResult:
    """Build a dataset on the cluster that this process is connected to.

    The result depends on nothing but the snapshots and the arguments. It lies under
    ``storage.dataset_dir(dataset_id)``: ``train/`` and ``validation/`` as Parquet,
    ``report.json`` and ``preview.json``.

    Args:
        tokenizer_json: Content of the base model's ``tokenizer.json``; lengths are counted by it.
        progress: Called with a fraction and a stage; what it raises stops the build.

    Raises:
        Failure: ``dataset_empty``; nothing is left behind.
    """
    build = Build(
        Storage(storage_uri),
        dataset_id,
        snapshots,
        config,
        max_examples,
        format,
        tokenizer_json,
        _map_on_cluster,
        progress,
    )
    with _quiet_and_ordered():
        return build.run()


def _map_on_cluster(
    function: Callable[[Item, Shared], pa.Table], items: Sequence[Item], shared: Shared
) -> Iterator[pa.Table]:
    """The ``Mapper`` of a cluster; a worker that dies costs the items of one block."""
    work = ray.put((function, items, shared))
    blocks = min(len(items), _MAX_BLOCKS)
    dataset = ray.data.range(len(items), override_num_blocks=blocks).map_batches(
        _apply,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"work": [work]},
        udf_modifying_row_count=True,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _apply(batch: pa.Table, work: list[ray.ObjectRef]) -> pa.Table:
    function, items, shared = _fetch(work[0])
    tables = [function(items[index], shared) for index in batch.column("id").to_pylist()]
    return pa.concat_tables(tables)


_fetched: dict[str, Any] = {}


def _fetch(work: ray.ObjectRef) -> Any:
    """What a worker shares between its tasks; the newest is kept, as its index is large."""
    key = work.hex()
    if key not in _fetched:
        _fetched.clear()
        _fetched[key] = ray.get(work)
    return _fetched[key]


@contextlib.contextmanager
def _quiet_and_ordered() -> Iterator[None]:
    """Results in the order of the items, so that a build is the same each time; no bars."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    context = DataContext.get_current()
    options = context.execution_options
    before = options.preserve_order, context.enable_progress_bars
    options.preserve_order, context.enable_progress_bars = True, False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        options.preserve_order, context.enable_progress_bars = before
