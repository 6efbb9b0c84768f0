"""On the cluster the same is measured, a worker that dies begins again where it was."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from comparisons import prepare
from ray import cloudpickle

from aiforge.evaluation.ray_validate import compare_on_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(autouse=True)
def sent_along() -> Iterator[None]:
    """Workers cannot import this module, so its classes travel with the work."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


class Marks:
    """A reporter that leaves files, and may kill the worker that it reports from, once."""

    def __init__(self, directory: Path, kill_at: str | None = None) -> None:
        self.directory, self.kill_at = directory, kill_at

    def progress(self, fraction: float, stage: str | None = None) -> None:
        with (self.directory / "stages").open("a") as file:
            file.write(f"{stage}\n")
        killed = self.directory / "killed"
        if stage == self.kill_at and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_costs_no_answer(ray_cluster: Any, tmp_path: Path) -> None:
    comparison = prepare(tmp_path, "job-1")
    marks = Marks(tmp_path, kill_at="measuring latency of candidate")

    figures = compare_on_cluster(comparison, marks, lambda stop: None).metrics

    assert (tmp_path / "killed").exists()
    assert figures["candidate"].samples["humaneval"] == 6
    assert figures["base"].scored_tokens == figures["candidate"].scored_tokens
    assert (tmp_path / "stages").read_text().count("measuring perplexity of base\n") >= 2


def test_what_is_stopped_stops(ray_cluster: Any, tmp_path: Path) -> None:
    comparison = prepare(tmp_path, "job-1")
    stops: list[Callable[[], None]] = []

    class Stopping(Marks):
        def progress(self, fraction: float, stage: str | None = None) -> None:
            super().progress(fraction, stage)
            threading.Event().wait(60)

    def stop_soon(stop: Callable[[], None]) -> None:
        stops.append(stop)
        threading.Timer(3, stop).start()

    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        compare_on_cluster(comparison, Stopping(tmp_path), stop_soon)
    assert len(stops) == 1
