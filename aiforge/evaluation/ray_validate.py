"""Measures models on the cluster: one task, which a lost worker makes begin again where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import ray

from aiforge.evaluation.compare import Compared, Comparison
from aiforge.evaluation.exam_mining import Mined, mine_snapshots
from aiforge.storage import Storage


class Reports(Protocol):
    """What tells of the work's progress from another process; picklable."""

    def progress(self, fraction: float, stage: str | None = None) -> None:
        """Say how far the work is."""
        ...


def compare_on_cluster(
    comparison: Comparison, reporter: Reports, on_start: Callable[[Callable[[], None]], None]
) -> Compared:
    """Measure the models of a comparison.

    Args:
        on_start: Given what stops the work.

    Raises:
        AIForgeError: As ``Comparison.run`` does.
    """
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=3)(_compare)
    compared: Compared = _result(task.remote(comparison, reporter), on_start)
    return compared


def mine_on_cluster(
    storage_uri: str,
    snapshots: list[str],
    wanted: int,
    seed: int,
    reporter: Reports,
    on_start: Callable[[Callable[[], None]], None],
) -> Mined:
    """Make an exam of snapshots; see ``exam.mine_snapshots``.

    Args:
        on_start: Given what stops the work.
    """
    task = ray.remote(num_cpus=1, max_retries=3)(_mine)
    mined: Mined = _result(task.remote(storage_uri, snapshots, wanted, seed, reporter), on_start)
    return mined


def _result(pending: ray.ObjectRef, on_start: Callable[[Callable[[], None]], None]) -> Any:
    on_start(lambda: ray.cancel(pending, force=True))
    try:
        return ray.get(pending)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def _compare(comparison: Comparison, reporter: Reports) -> Compared:
    return comparison.run(reporter.progress)


def _mine(
    storage_uri: str, snapshots: list[str], wanted: int, seed: int, reporter: Reports
) -> Mined:
    def progress(share: float) -> None:
        reporter.progress(share, "making an exam of the repository")

    return mine_snapshots(Storage(storage_uri), snapshots, wanted, seed=seed, progress=progress)
