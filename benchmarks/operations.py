"""Operations: what clients notice of a rolling restart, and how soon a full state is back.

    python benchmarks/operations.py [--quick] [--json PATH]

A rolling restart is asked for while clients read, write with idempotency keys and follow the
event stream; nobody repeats a request but the stream, which goes on after the last event that it
saw. A cold restart kills every process of the platform, with 10,000 jobs in the state of which
some were queued and running; its peer is the same with an empty state.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from common import Goal, Report, arguments
from sqlalchemy import Connection, insert

from aiforge.runtime import cluster
from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import Resources, RunKind, RunStatus
from aiforge.settings import Settings
from aiforge.state import counts, datasets, jobs, outcomes, runs, sources
from aiforge.state.ops import write
from aiforge.state.store import Store

JOBS = 10_000
WAITING, RUNNING = 200, 2
PORT = 8767
SYNCED = {"revision": "r", "file_count": 1, "skipped_count": 0, "total_bytes": 1,
          "snapshot": "none"}  # fmt: skip
GENERATED = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.5}


def aiforge(settings: Settings, *arguments: str) -> float:
    """Run the command line as a user does; how long it took, in seconds."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("RAY_", "DS_"))}
    own = {"AIFORGE_HOME": str(settings.home), "AIFORGE_PORT": str(settings.port)}
    command = [sys.executable, "-m", "aiforge.cli", *arguments]
    begun = time.monotonic()
    done = subprocess.run(command, env=kept | own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"aiforge {' '.join(arguments)}: {done.stderr[-1500:]}")
    return time.monotonic() - begun


@dataclass
class Load:
    """Clients that never repeat a request, and one that follows all events.

    Args:
        url: Address of the API.
    """

    url: str
    answers: Counter[str] = field(default_factory=Counter)
    """By kind of request and outcome."""

    slowest: float = 0.0
    """Seconds of the slowest answer."""

    made: list[str] = field(default_factory=list)
    """Ids of the keys whose making was acknowledged."""

    events: list[int] = field(default_factory=list)
    """Numbers of the events in the order in which they came."""

    streams: int = 0
    """How often the event stream was opened."""

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._read, self._read, self._write, self._follow)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def errors(self) -> dict[str, int]:
        """What was not answered as it should be."""
        return {what: count for what, count in self.answers.items() if not what.endswith(" ok")}

    def _read(self) -> None:
        paths = ("/jobs", "/datasets", "/models", "/status", "/data-sources?limit=5")
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as api:
            number = 0
            while not self._over.wait(0.02):
                self._ask(api, "GET", paths[number % len(paths)])
                number += 1

    def _write(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as api:
            while not self._over.wait(0.05):
                answer = self._ask(
                    api, "POST", "/keys", json={"name": "load", "scopes": ["jobs:read"]},
                    headers={"Idempotency-Key": uuid.uuid4().hex},
                )  # fmt: skip
                if answer is not None and answer.status_code == 201:
                    self.made.append(answer.json()["id"])

    def _ask(self, api: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        begun = time.monotonic()
        answer = None
        try:
            answer = api.request(method, path, **more)
            outcome = "ok" if answer.is_success else str(answer.status_code)
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.answers[f"{method} {outcome}"] += 1
        return answer

    def _follow(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as api:
            while not self._over.is_set():
                self.streams += 1
                with contextlib.suppress(httpx.HTTPError):
                    self._listen(api)

    def _listen(self, api: httpx.Client) -> None:
        headers = {"Last-Event-ID": str(self.events[-1])} if self.events else {}
        with api.stream("GET", "/events", headers=headers, timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    self.events.append(int(line[4:]))
                if self._over.is_set():
                    return


def roll(settings: Settings, before: float = 5.0, after: float = 5.0) -> tuple[Load, float]:
    """Restart a running platform process by process under load; the load, and seconds it took."""
    with Load(f"http://{settings.host}:{settings.port}") as load:
        time.sleep(before)
        took = aiforge(settings, "restart")
        time.sleep(after)
        # An event that ends the wait of the stream for the next one.
        httpx.post(f"{load.url}/keys", json={"name": "last", "scopes": ["jobs:read"]}, timeout=60)
    return load, took


def cold(settings: Settings) -> float:
    """Kill every process of a running platform; seconds from there until it is healthy again."""
    info = cluster.read_info(settings)
    assert info is not None
    cluster.end_processes(cluster.processes_of(info.id, info.pid), grace=0)
    return aiforge(settings, "up", "--detach")


def fill(settings: Settings) -> None:
    """Put jobs into the state of a platform that is down: most ended, some waiting, some running.

    The running ones are of drivers that are gone, with a dataset that is gone, so each ends in a
    failure soon after the restart, which says so.
    """
    store = Store(settings.resolved_database_url)
    source = sources.NewSource(id=new_id("src"), name="s", type="git", url="https://x.org/r",
                               include_patterns=[], exclude_patterns=[])  # fmt: skip
    created = store.run(sources.create, (source, Resources()))
    _finish(store, created.parsing_job_id, SYNCED)
    request = GenerateRequest(name="d", source_ids=[source.id])
    dataset = store.run(datasets.create, (request, Resources()))
    _finish(store, store.run(runs.waiting)[0].id, GENERATED)
    store.run(_copy_jobs, (dataset.id, JOBS - WAITING - RUNNING))
    # More than this machine has, so that they go on waiting.
    large = Resources(cpus=10_000)
    wanted = FineTuneRequest(project_name="p", dataset_id=dataset.id, base_model="forge-tiny")
    for _ in range(WAITING):
        store.run(jobs.create, (wanted, large))
    for _ in range(RUNNING):
        store.run(runs.start, (store.run(jobs.create, (wanted, Resources())).id,))
    store.close()


def _finish(store: Store, run_id: str, result: dict[str, Any]) -> None:
    run = store.run(runs.start, (run_id,))
    store.run(outcomes.complete, (run_id, run.attempt, result))


@write
def _copy_jobs(connection: Connection, dataset_id: str, number: int) -> None:
    """Ended jobs, all like one that was cancelled."""
    request = FineTuneRequest(project_name="p", dataset_id=dataset_id, base_model="forge-tiny")
    pattern = jobs.create(connection, request, Resources())
    outcomes.cancel(connection, pattern.id)
    ids = [new_id("job") for _ in range(number - 1)]
    for table in (runs.runs, jobs.jobs):
        row = connection.execute(table.select().where(table.c.id == pattern.id)).one()
        connection.execute(insert(table), [dict(row._mapping) | {"id": copy} for copy in ids])
    number_of = counts.run_counts
    connection.execute(
        number_of.update()
        .where(number_of.c.kind == RunKind.TRAIN, number_of.c.status == RunStatus.CANCELLED)
        .values(number=number_of.c.number + len(ids))
    )


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__)
    report = Report("Operations")
    rounds = 1 if options.quick else 3
    with tempfile.TemporaryDirectory(prefix="aiforge-bench-") as directory:
        settings = Settings(home=Path(directory) / "home", port=PORT, disk_reserve_bytes=0)
        try:
            aiforge(settings, "up", "--detach")
            for _ in range(rounds):
                _report_roll(report, settings)
            empty = min(cold(settings) for _ in range(rounds))
            aiforge(settings, "down")
            fill(settings)
            aiforge(settings, "up", "--detach")
            full = min(cold(settings) for _ in range(rounds))
            report.add(f"cold restart with {JOBS:,} jobs", full, "s",
                       peer="with an empty state", peer_value=empty)  # fmt: skip
            report.add("of it beyond an empty state", full - empty, "s", goal=Goal("<=", 15))
        finally:
            aiforge(settings, "down")
    report.finish(options.json)


def _report_roll(report: Report, settings: Settings) -> None:
    load, took = roll(settings)
    missing = [number for a, b in zip(load.events, load.events[1:], strict=False)
               for number in range(a + 1, b)]  # fmt: skip
    print(f"Answers {dict(load.answers)}, {load.streams} streams, {len(load.events)} events")
    report.add("rolling restart", took, "s")
    report.add("requests meanwhile", sum(load.answers.values()), "requests")
    report.add("requests lost", sum(load.errors.values()), "requests", goal=Goal("<=", 0))
    report.add("slowest answer", load.slowest, "s")
    report.add("events missed by a stream", len(missing), "events", goal=Goal("<=", 0))
    report.add("events seen twice", len(load.events) - len(set(load.events)), "events",
               goal=Goal("<=", 0))  # fmt: skip


if __name__ == "__main__":
    main()
