"""The front door: what authentication and limits cost, and whether replicas count exactly.

The peer is the same API in the same cluster as development runs it, without credentials and limits.

    python benchmarks/security.py [--quick] [--json PATH]
"""

from __future__ import annotations

import http.client
import logging
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from common import Goal, Report, arguments

from aiforge.modeling.bases import FORGE_TINY
from aiforge.runtime import cluster, platform
from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import Resources
from aiforge.services.tokens import Tokens
from aiforge.settings import Settings
from aiforge.state import datasets, jobs, outcomes, runs, sources
from aiforge.state.store import Store

PORT = 8766
SECRET = "k8Q2v7Zp4Lx9Wm3Rt6Yb1Nc5Hd0Gf8Js-benchmarks-only"
REPLICAS = 4
UNLIMITED = 1_000_000
NOTHING = Resources()


@dataclass
class Caller:
    """Who asks, and how long each answer took in seconds."""

    name: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.seconds)

    def ask(self, number: int) -> Counter[int]:
        """Send requests over one connection, one after another; the statuses that came."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        statuses: Counter[int] = Counter()
        for _ in range(number):
            begun = time.perf_counter()
            connection.request("GET", self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            answer.read()
            self.seconds.append(time.perf_counter() - begun)
            statuses[answer.status] += 1
        connection.close()
        return statuses


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__)
    report = Report("The front door")
    requests, rounds = (40, 8) if options.quick else (100, 20)
    with tempfile.TemporaryDirectory(prefix="aiforge-bench-") as home:
        settings = Settings(
            env="production",
            jwt_secret=SECRET,
            home=Path(home),
            port=PORT,
            ray_address=None,
            disk_reserve_bytes=0,
            rate_limit_reads=UNLIMITED,
            rate_limit_writes=UNLIMITED,
        )
        _fill(Store(settings.resolved_database_url))
        with _served(settings):
            _overhead(report, settings, requests, rounds)
            _exactness(report, settings)
    report.finish(options.json)


def _overhead(report: Report, settings: Settings, requests: int, rounds: int) -> None:
    token = Tokens(settings).mint("bench", ["admin"], timedelta(hours=1))
    bearer = {"Authorization": f"Bearer {token}"}
    callers = [
        Caller("development", "/open/jobs"),
        Caller("a token", "/jobs", bearer),
        Caller("an API key", "/jobs", {"X-API-Key": _make_key(bearer)}),
    ]
    for caller in callers:
        caller.ask(20)
        caller.seconds.clear()
    for _ in range(rounds):
        for caller in callers:
            statuses = caller.ask(requests)
            if set(statuses) != {200}:
                raise SystemExit(f"{caller.name}: {statuses}")
    peer, *measured = callers
    for caller in measured:
        report.add(
            f"GET /jobs with {caller.name}, counted, p50",
            caller.median_ms,
            "ms",
            peer="development",
            peer_value=peer.median_ms,
            goal=Goal(">=", 1 / 1.3, of="ratio"),
        )


def _make_key(headers: Mapping[str, str]) -> str:
    import json

    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    body = json.dumps({"name": "bench", "scopes": ["jobs:read"]})
    connection.request("POST", "/keys", body, {"Content-Type": "application/json", **headers})
    made: str = json.loads(connection.getresponse().read())["key"]
    connection.close()
    return made


def _exactness(report: Report, settings: Settings) -> None:
    """Of 150 requests at once, over four replicas, the quota of 100 must pass."""
    from ray import serve

    from aiforge.api.app import build

    limited = settings.model_copy(update={"rate_limit_reads": 100, "api_replicas": REPLICAS})
    serve.run(build(limited), name="aiforge", route_prefix="/")
    for number in range(3):
        token = Tokens(settings).mint(f"caller-{number}", ["jobs:read"], timedelta(hours=1))
        caller = Caller("counted", "/jobs", {"Authorization": f"Bearer {token}"})
        with ThreadPoolExecutor(30) as pool:
            statuses = sum(pool.map(lambda _, caller=caller: caller.ask(5), range(30)), Counter())
        report.add(
            f"let pass of 150 at once, {REPLICAS} replicas, quota 100, run {number + 1}",
            statuses[200],
            f"({statuses[429]} refused)",
            goal=Goal("<=", 100),
        )
        if statuses != {200: 100, 429: 50}:
            raise SystemExit(f"the replicas do not count exactly: {statuses}")


@contextmanager
def _served(settings: Settings) -> Iterator[None]:
    """The API as production and as development run it, on one cluster."""
    cluster.start(settings)
    try:
        platform.connect(settings)
        from ray import serve

        from aiforge.api.app import build
        from aiforge.runtime import limiter
        from aiforge.state import actor

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        actor.start(settings)
        limiter.start(settings)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": settings.host, "port": settings.port},
        )
        serve.run(build(settings), name="aiforge", route_prefix="/")
        open_settings = settings.model_copy(update={"env": "development"})
        serve.run(build(open_settings), name="open", route_prefix="/open")
        yield
    finally:
        cluster.stop(settings)


def _fill(store: Store, number: int = 50) -> None:
    """Jobs to list."""
    source = sources.NewSource(
        id=new_id("src"), name="s", type="git", include_patterns=[], exclude_patterns=[]
    )
    created = store.run(sources.create, (source, NOTHING))
    synced = {
        "revision": "r",
        "file_count": 1,
        "skipped_count": 0,
        "total_bytes": 1,
        "snapshot": "none",
    }
    _finish(store, created.parsing_job_id, synced)
    dataset = store.run(
        datasets.create, (GenerateRequest(name="d", source_ids=[source.id]), NOTHING)
    )
    generated = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.5}
    _finish(store, store.run(runs.waiting)[0].id, generated)
    request = FineTuneRequest(project_name="p", dataset_id=dataset.id, base_model=FORGE_TINY)
    for _ in range(number):
        store.run(jobs.create, (request, NOTHING))


def _finish(store: Store, run_id: str, result: dict[str, object]) -> None:
    run = store.run(runs.start, (run_id,))
    store.run(outcomes.complete, (run_id, run.attempt, result))


if __name__ == "__main__":
    main()
