"""The platform's own metrics endpoint: what the database and the storage say, for Prometheus.

It is served by the dispatcher on loopback, and its address is written where Prometheus finds it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aiforge.errors import AIForgeError
from aiforge.export.plan import PARITY_FILE
from aiforge.runtime.catalog import CATALOG
from aiforge.schemas.datasets import YieldReport
from aiforge.settings import Settings
from aiforge.state import events, totals
from aiforge.state.access import State
from aiforge.state.totals import Sample, Totals
from aiforge.storage import Storage, dataset_dir, export_dir

FRESH_SECONDS = 5.0
"""Looks in quicker succession get the same answer: each reads as many rows as there are."""

_log = logging.getLogger(__name__)


class PlatformMetrics(Collector):
    """Gives the samples of the platform at each look of Prometheus.

    Args:
        state: Read only.
    """

    def __init__(self, state: State, storage: Storage) -> None:
        self._state = state
        self._reports = Reports(storage)
        self._storage = storage
        self._looking = threading.Lock()
        self._samples: list[Sample] = []
        self._due = 0.0

    def collect(self) -> Iterator[Metric]:
        """One family for each metric of the catalog that has values."""
        with self._looking:
            if time.monotonic() >= self._due:
                self._samples = self._look()
                self._due = time.monotonic() + FRESH_SECONDS
            samples = self._samples
        yield from _families(samples)

    def describe(self) -> list[Metric]:
        """Nothing beforehand: what there is depends on the state."""
        return []

    def _look(self) -> list[Sample]:
        free = self._storage.free_bytes()
        disk = [] if free is None else [_gauge("aiforge_storage_free_bytes", free)]
        try:
            return [*self._ask(), *disk, _gauge("aiforge_up", 1)]
        except AIForgeError as error:
            _log.warning("The metrics are without the state: %s", error.message)
            return [*disk, _gauge("aiforge_up", 0)]

    def _ask(self) -> list[Sample]:
        begun = time.perf_counter()
        self._state.call_sync(events.latest)
        answered = time.perf_counter()
        found = self._state.call_sync(totals.collect)
        seconds = {"ping": answered - begun, "totals": time.perf_counter() - answered}
        latencies = [
            _gauge("aiforge_state_seconds", value, operation=name)
            for name, value in seconds.items()
        ]
        return [*found.samples, *self._reports.samples(found), *latencies]


class Reports:
    """What datasets and exports left on the storage; each report is read once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read: dict[str, Any] = {}

    def samples(self, found: Totals) -> Iterator[Sample]:
        """The newest dataset's yield, the teachers' use and the exports' comparisons."""
        datasets = [f"{dataset_dir(name)}/report.json" for name in found.ready_datasets]
        exports = [f"{export_dir(name)}/{PARITY_FILE}" for name in found.completed_exports]
        # What is named no more was deleted; this process lives for months.
        self._read = {path: self._report(path) for path in (*datasets, *exports)}
        yields = [
            YieldReport.model_validate(report) for path in datasets if (report := self._read[path])
        ]
        parities = [report for path in exports if (report := self._read[path])]
        yield from _yield_of(yields[:1])
        yield from _teachers(yields)
        yield from _parity(parities)

    def _report(self, path: str) -> Any:
        if (known := self._read.get(path)) is not None:
            return known
        try:
            return self._storage.read_json(path)
        except AIForgeError:
            # It was deleted after the look at the database; the next look names it no more.
            return None


def _yield_of(newest: Iterable[YieldReport]) -> Iterator[Sample]:
    for report in newest:
        for stage in report.stages:
            for direction, number in (("entered", stage.entered), ("left", stage.left)):
                yield _gauge(
                    "aiforge_dataset_stage_examples", number, stage=stage.stage, direction=direction
                )


def _teachers(reports: Iterable[YieldReport]) -> Iterator[Sample]:
    uses = [report.teacher for report in reports if report.teacher is not None]
    if not uses:
        return
    for source, number in (
        ("sent", sum(use.requests for use in uses)),
        ("cached", sum(use.cached for use in uses)),
    ):
        yield _gauge("aiforge_teacher_requests", number, source=source)
    for direction, number in (
        ("prompt", sum(use.prompt_tokens for use in uses)),
        ("reply", sum(use.reply_tokens for use in uses)),
    ):
        yield _gauge("aiforge_teacher_tokens", number, direction=direction)
    costs = [use.cost for use in uses if use.cost is not None]
    if costs:
        yield _gauge("aiforge_teacher_cost", sum(costs))


def _parity(reports: list[dict[str, Any]]) -> Iterator[Sample]:
    passed = Counter(
        str(bool(check["passed"])).lower() for report in reports for check in report["checks"]
    )
    for verdict, number in passed.items():
        yield _gauge("aiforge_export_checks", number, passed=verdict)
    for report in reports[:1]:
        divergences = [check for check in report["checks"] if check["unit"].startswith("nats")]
        if divergences:
            yield _gauge("aiforge_export_kl_nats", max(one["measured"] for one in divergences))


def _gauge(metric: str, value: float, **labels: str) -> Sample:
    return Sample(metric=metric, value=float(value), labels=labels)


def _families(samples: list[Sample]) -> Iterator[Metric]:
    for metric in CATALOG:
        rows = [sample for sample in samples if sample.metric == metric.name]
        if metric.origin != "platform" or not rows:
            continue
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for row in rows:
            family.add_metric([row.labels[label] for label in metric.labels], row.value)
        yield family


def targets_file(settings: Settings) -> Path:
    """Where Prometheus finds the address of the endpoint (the form of ``file_sd_configs``)."""
    return settings.home / "metrics" / "platform.json"


def serve(settings: Settings, state: State) -> int:
    """Answer ``/metrics`` from a thread of its own, and say where; the port.

    By default the port is closed outside this machine: Prometheus belongs onto the head node.
    """
    registry = CollectorRegistry()
    registry.register(PlatformMetrics(state, Storage(settings.resolved_storage_uri)))
    server, _ = start_http_server(
        settings.metrics_port, addr=settings.metrics_host, registry=registry
    )
    port = int(server.server_port)
    path = targets_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": {}}]))
    partial.replace(path)
    return port
