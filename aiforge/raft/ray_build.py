"""Dataset builds on a Ray cluster: the stages of ``build`` as Ray Data pipelines."""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext

from aiforge.raft.build import Build, BuildResult, Progress, SnapshotRef
from aiforge.raft.stages import Item, Shared
from aiforge.raft.teacher import Ask, TeacherPlan
from aiforge.raft.teaching import Teaching
from aiforge.schemas.datasets import DatasetFormat, RaftConfig
from aiforge.storage import Storage

__all__ = ["BuildResult", "SnapshotRef", "build_dataset"]


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
    teacher: TeacherPlan | None = None,
) -> BuildResult:
    """Build a dataset on the cluster that this process is connected to.

    The result depends on nothing but the snapshots and the arguments. It lies under
    ``storage.dataset_dir(dataset_id)``: ``train/`` and ``validation/`` as Parquet,
    ``report.json`` and ``preview.json``.

    Args:
        tokenizer_json: Content of the base model's ``tokenizer.json``; lengths are counted by it.
        progress: Called with a fraction and a stage; what it raises stops the build.
        teacher: A model that writes questions and answers.

    Raises:
        Failure: ``dataset_empty``; nothing is left behind. As ``Build.run``.
    """
    build = Build(
        Storage(storage_uri),
        dataset_id,
        snapshots,
        config,
        max_examples,
        format,
        tokenizer_json,
        map_on_cluster,
        progress,
        Teaching(teacher, _ask_of(teacher)) if teacher else None,
    )
    with _quiet_and_ordered():
        return build.run()


def _ask_of(plan: TeacherPlan) -> Ask:
    """How a teacher is asked on a cluster; what only one way needs is imported for it alone."""
    if plan.config.engine == "vllm":
        from aiforge.raft.ray_vllm import ask_by_vllm

        return ask_by_vllm
    from aiforge.raft.ray_teacher import ask_on_cluster

    return ask_on_cluster


def map_on_cluster(
    function: Callable[[Item, Shared], pa.Table],
    items: Sequence[Item],
    shared: Shared,
    at_once: int = 1,
) -> Iterator[pa.Table]:
    """The ``Mapper`` of a cluster: one block of Ray Data for some items, spread as there is room.

    Items travel as the rows of the blocks, results come back as they are asked for; a worker that
    dies costs the item that it was at, as finished ones are found.
    """
    work = ray.put((function, shared))
    processors = int(ray.cluster_resources().get("CPU", 1))
    rows = [
        pa.table({"item": [pickle.dumps(item) for item in group]})
        for group in groups_of(items, at_once, processors)
    ]
    dataset = ray.data.from_arrow(rows).map_batches(
        _apply,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"work": [work]},
        udf_modifying_row_count=True,
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from map(_open, batch.column("result"))


def groups_of(items: Sequence[Item], most: int, processors: int) -> Iterator[Sequence[Item]]:
    """Items in groups, large ones first, so that all processors are done at about the same time.

    A processor waits up to a tenth of a second for its next group, which Ray Data looks for no
    more often while others are under way.
    """
    least = max(1, most // 16)
    start = 0
    while start < len(items):
        share = math.ceil((len(items) - start) / (2 * max(processors, 1)))
        size = min(most, max(least, share))
        yield items[start : start + size]
        start += size


def _apply(batch: pa.Table, work: list[ray.ObjectRef]) -> pa.Table:
    function, shared = _fetch(work[0])
    # Pickled by this very build, a moment ago.
    items = (pickle.loads(item.as_py()) for item in batch.column("item"))  # noqa: S301
    results = [function(item, shared) for item in items]
    return pa.table({"result": pa.array(map(sealed, results), pa.large_binary())})


def sealed(table: pa.Table) -> bytes:
    """A table as one value, so that Ray Data neither merges nor splits what belongs to an item."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    # Copied, since pyarrow (26) never lets go of a memoryview that it made an array of.
    return bytes(sink.getvalue().to_pybytes())


def _open(value: pa.LargeBinaryScalar) -> pa.Table:
    return pa.ipc.open_stream(value.as_buffer()).read_all()


_fetched: dict[str, Any] = {}


def _fetch(work: ray.ObjectRef) -> Any:
    """What a worker shares between its tasks; the newest is kept."""
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
