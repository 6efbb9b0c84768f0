"""REST: what a request costs beside a route that does nothing, and with many jobs in the state.

The peer is a bare FastAPI route on the same Ray Serve settings in the same cluster.

    python benchmarks/api.py [--quick] [--json PATH]
"""

from __future__ import annotations

import http.client
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import Goal, Report, arguments
from sqlalchemy import Connection, insert

from aiforge.modeling.bases import FORGE_TINY
from aiforge.runtime import cluster, platform
from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import Resources, RunKind, RunStatus
from aiforge.settings import Settings
from aiforge.state import counts, datasets, jobs, outcomes, runs, sources
from aiforge.state.ops import write
from aiforge.state.store import Store

PORT = 8765
CLIENTS = 16
NOTHING = Resources()
SYNCED = {
    "revision": "r",
    "file_count": 1,
    "skipped_count": 0,
    "total_bytes": 1,
    "snapshot": "none",
}
GENERATED = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.5}


@dataclass
class Target:
    """One kind of request, how long each took and how many a second there were, by clients."""

    name: str
    method: str
    path: str
    body: bytes | None = None
    seconds: dict[int, list[float]] = field(default_factory=lambda: {1: [], CLIENTS: []})
    rates: dict[int, list[float]] = field(default_factory=lambda: {1: [], CLIENTS: []})

    def median_ms(self, clients: int = 1) -> float:
        return 1000 * statistics.median(self.seconds[clients])

    def p99_ms(self, clients: int = 1) -> float:
        return 1000 * statistics.quantiles(self.seconds[clients], n=100)[98]

    def rate(self, clients: int = 1) -> float:
        return statistics.median(self.rates[clients])


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__)
    report = Report("REST API on Ray Serve")
    requests, rounds, most = (40, 5, 10_000) if options.quick else (100, 10, 100_000)
    with tempfile.TemporaryDirectory(prefix="aiforge-bench-") as home:
        settings = Settings(home=Path(home), port=PORT, disk_reserve_bytes=0)
        store = Store(settings.resolved_database_url)
        dataset_id = _dataset(store)
        with _served(settings):
            few = _listing(store, 100, requests, rounds)
            _compare(report, store, dataset_id, requests, rounds)
            many = _listing(store, most, requests, rounds)
            report.add(
                f"GET /jobs with {most:,} jobs, p50",
                many.median_ms(),
                "ms",
                peer="with 100 jobs",
                peer_value=few.median_ms(),
                goal=Goal(">=", 1 / 1.3, of="ratio"),
            )
            report.add(
                "POST to running, idle and warm",
                _time_to_running(settings, store, dataset_id),
                "s",
                goal=Goal("<=", 5),
            )
    report.finish(options.json)


def _compare(report: Report, store: Store, dataset_id: str, requests: int, rounds: int) -> None:
    _seed(store, 1000)
    newest = store.run(jobs.page, (1, 0)).items[0].id
    body = {"projectName": "bench", "datasetId": dataset_id, "baseModel": FORGE_TINY}
    nothing = Target("no-op", "GET", "/noop/")
    targets = [
        Target("GET /jobs, 50 of 1,000", "GET", "/jobs"),
        Target("GET /jobs/:id", "GET", f"/jobs/{newest}"),
        Target("GET /health", "GET", "/health"),
        Target("POST /v1/fine-tune", "POST", "/v1/fine-tune", json.dumps(body).encode()),
    ]
    _measure([nothing, *targets], requests, rounds)
    for target in targets:
        goal = Goal(">=", 1 / 4 if target.method == "POST" else 1 / 2, of="ratio")
        for clients in (1, CLIENTS):
            at = f"at {clients} client{'s' if clients > 1 else ''}"
            report.add(
                f"{target.name}, p50 {at}",
                target.median_ms(clients),
                "ms",
                peer="no-op route",
                peer_value=nothing.median_ms(clients),
                goal=goal if clients == 1 else None,
            )
            report.add(
                f"{target.name}, p99 {at}",
                target.p99_ms(clients),
                "ms",
                peer="no-op route",
                peer_value=nothing.p99_ms(clients),
            )
            report.add(
                f"{target.name}, {at}",
                target.rate(clients),
                "requests/s",
                peer="no-op route",
                peer_value=nothing.rate(clients),
                better="higher",
            )


def _listing(store: Store, number: int, requests: int, rounds: int) -> Target:
    _seed(store, number)
    target = Target("GET /jobs", "GET", "/jobs")
    _measure([target], requests, rounds)
    return target


def _measure(targets: list[Target], requests: int, rounds: int) -> None:
    """Take turns, so that whatever else the machine does weighs on all alike."""
    for target in targets:
        _send(target, 10)
    for _ in range(rounds):
        for target in targets:
            _together(target, 1, requests)
    for _ in range(max(3, rounds // 2)):
        for target in targets:
            _together(target, CLIENTS, max(5, requests // 4))


def _send(target: Target, number: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    headers = {"Content-Type": "application/json"} if target.body else {}
    seconds = []
    for _ in range(number):
        begun = time.perf_counter()
        connection.request(target.method, target.path, target.body, headers)
        answer = connection.getresponse()
        content = answer.read()
        seconds.append(time.perf_counter() - begun)
        if answer.status >= 300:
            raise SystemExit(f"{target.name}: {answer.status} {content.decode()[:300]}")
    connection.close()
    return seconds


def _together(target: Target, clients: int, each: int) -> None:
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for seconds in pool.map(lambda _: _send(target, each), range(clients)):
            target.seconds[clients] += seconds
    target.rates[clients].append(clients * each / (time.perf_counter() - begun))


@contextmanager
def _served(settings: Settings) -> Iterator[None]:
    """The API and the no-op route on one cluster, without a dispatcher to act on jobs."""
    cluster.start(settings)
    try:
        platform.connect(settings)
        from ray import serve

        from aiforge.api.app import build
        from aiforge.state import actor

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        actor.start(settings)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": settings.host, "port": settings.port},
        )
        serve.run(build(settings), name="aiforge", route_prefix="/")
        serve.run(_nothing(), name="noop", route_prefix="/noop")
        yield
    finally:
        cluster.stop(settings)


def _nothing() -> Any:
    from fastapi import FastAPI
    from ray import serve

    from aiforge.api.app import MAX_ONGOING_REQUESTS

    def build() -> FastAPI:
        app = FastAPI()

        @app.get("/")
        async def nothing() -> dict[str, str]:
            return {}

        return app

    options: dict[str, Any] = {
        "name": "Nothing",
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "ray_actor_options": {"num_cpus": 0},
    }
    return serve.deployment(serve.ingress(build)(), **options).bind()


def _dataset(store: Store) -> str:
    """A dataset that is ready, as far as the state knows."""
    source = sources.NewSource(
        id=new_id("src"), name="s", type="git", include_patterns=[], exclude_patterns=[]
    )
    created = store.run(sources.create, (source, NOTHING))
    _finish(store, created.parsing_job_id, SYNCED)
    request = GenerateRequest(name="d", source_ids=[source.id])
    dataset = store.run(datasets.create, (request, NOTHING))
    waiting = store.run(runs.waiting)
    _finish(store, waiting[0].id, GENERATED)
    return dataset.id


def _finish(store: Store, run_id: str, result: dict[str, Any]) -> None:
    run = store.run(runs.start, (run_id,))
    store.run(outcomes.complete, (run_id, run.attempt, result))


def _seed(store: Store, number: int) -> None:
    """Bring the number of jobs up to this one, as copies of a job that was cancelled."""
    store.run(_copy_jobs, (number,))


@write
def _copy_jobs(connection: Connection, number: int) -> None:
    missing = number - jobs.number(connection)
    if missing <= 0:
        return
    dataset = datasets.page(connection, 1, 0).items[0]
    request = FineTuneRequest(project_name="p", dataset_id=dataset.id, base_model=FORGE_TINY)
    pattern = jobs.create(connection, request, NOTHING)
    outcomes.cancel(connection, pattern.id)
    run = connection.execute(runs.runs.select().where(runs.runs.c.id == pattern.id)).one()
    job = connection.execute(jobs.jobs.select().where(jobs.jobs.c.id == pattern.id)).one()
    ids = [new_id("job") for _ in range(missing - 1)]
    if not ids:
        return
    copies: list[tuple[Any, Any]] = [(runs.runs, run), (jobs.jobs, job)]
    for table, row in copies:
        values = [dict(row._mapping) | {"id": copy} for copy in ids]
        connection.execute(insert(table), values)
    connection.execute(
        counts.run_counts.update()
        .where(
            counts.run_counts.c.kind == RunKind.TRAIN,
            counts.run_counts.c.status == RunStatus.CANCELLED,
        )
        .values(number=counts.run_counts.c.number + len(ids))
    )


def _time_to_running(settings: Settings, store: Store, dataset_id: str) -> float:
    """Seconds from the request to ``running``, of the second job: the first warms the cluster."""
    from aiforge.runtime import dispatcher

    for run in store.run(runs.waiting, (100_000,)):
        store.run(outcomes.cancel, (run.id,))
    dispatcher.start(settings)
    took = 0.0
    for _ in range(2):
        body = {"projectName": "bench", "datasetId": dataset_id, "baseModel": FORGE_TINY}
        begun = time.perf_counter()
        job_id = _json("POST", "/v1/fine-tune", body)["jobId"]
        _until(lambda found=job_id: _json("GET", f"/jobs/{found}")["status"] != "queued")
        took = time.perf_counter() - begun
        _until(lambda found=job_id: _json("GET", f"/jobs/{found}")["finishedAt"])
    return took


def _until(done: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("A job did not go on in time.")
        time.sleep(0.02)


def _json(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    sent = None if body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


if __name__ == "__main__":
    main()
