"""The real API in this process: state on SQLite, storage on disk, HTTP on a free port.

There is no cluster, so nothing starts runs by itself: tests end them through ``World``.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from aiforge.api.factory import create_app
from aiforge.client import AIForge, RetryPolicy
from aiforge.schemas.common import utc_now
from aiforge.schemas.runs import LogLine, MetricPoint, Run, RunKind
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state import events, outcomes, runs
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage, export_dir

BASE_MODEL = "little"

SYNCED = {
    "revision": "4f2d3a9c1b",
    "file_count": 3,
    "skipped_count": 1,
    "total_bytes": 99,
    "snapshot": "sources/none/snapshots/none",
}
GENERATED = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.5}
TRAINED = {"adapter_path": "/adapters/1", "steps": 3, "final_loss": 1.5, "tokens_per_second": 123.0}
EXPORTED_BYTES = b"0123456789"
EXPORTED = {
    "output_path": "/exports/1/model.gguf",
    "size": 10,
    "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
    "files": [
        {
            "name": "model.gguf",
            "size": 10,
            "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
        }
    ],
    "stop_tokens": ["</s>"],
    "context_length": 64,
}
VALIDATED = {
    "metrics": {"perplexity": 4.5, "codebleu": 0.5, "latency": 7.0, "samples": {"codebleu": 9}},
    "baseline": {"perplexity": 9.0},
    "passed": True,
    "policy": "tiny",
    "gates": [{"metric": "codebleu", "status": "pass", "reason": "0.5 is good enough."}],
}
OUTCOMES = {
    RunKind.SYNC: SYNCED,
    RunKind.GENERATE: GENERATED,
    RunKind.TRAIN: TRAINED,
    RunKind.EXPORT: EXPORTED,
    RunKind.VALIDATE: VALIDATED,
}


@dataclass
class World:
    """The services behind a server, and what a dispatcher and drivers would do to runs."""

    services: Services
    store: Store

    def run_of(self, resource_id: str) -> Run:
        """The run that is under way for a resource."""
        waiting = self.services.state.call_sync(runs.waiting)
        active = self.services.state.call_sync(runs.active)
        return next(run for run in waiting + active if run.resource_id == resource_id)

    def start(self, resource_id: str) -> Run:
        return self.services.state.call_sync(runs.start, self.run_of(resource_id).id)

    def report(self, run: Run, *steps: int, log: str | None = None, total: int = 3) -> None:
        """What a driver reports after some steps."""
        points = [
            MetricPoint(
                step=step,
                loss=3.0 / step,
                learning_rate=0.1,
                grad_norm=1.0,
                epoch=1.0,
                tokens_per_second=1000.0,
            )
            for step in steps
        ]
        lines = [LogLine(sequence=0, at=utc_now(), level="info", message=log)] if log else []
        report = runs.Report(
            points=points,
            logs=lines,
            progress=100.0 * max(steps, default=0) / total,
            stage="training",
            figures={"total_steps": total, "remaining_seconds": 65.0},
        )
        self.services.state.call_sync(runs.record, run.id, run.attempt, report)

    def complete(self, run: Run) -> Run:
        if run.kind is RunKind.EXPORT:
            path = f"{export_dir(run.resource_id)}/model.gguf"
            self.services.storage.write_bytes(path, EXPORTED_BYTES)
        return self.services.state.call_sync(
            outcomes.complete, run.id, run.attempt, OUTCOMES[run.kind]
        )

    def fail(self, run: Run, error: str = "It broke.", code: str = "broken") -> Run:
        return self.services.state.call_sync(outcomes.fail, run.id, run.attempt, error, code)

    def finish(self, resource_id: str) -> Run:
        """Start and complete what is queued for a resource."""
        return self.complete(self.start(resource_id))

    def working(self) -> Worker:
        """Completes every run that is queued, as long as the block lasts."""
        return Worker(self)


class Worker:
    """A thread that takes runs from the queue and completes them, training in three steps."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        state = self._world.services.state
        while not self._over.wait(0.02):
            for run in state.call_sync(runs.waiting):
                started = state.call_sync(runs.start, run.id)
                if run.kind is RunKind.TRAIN:
                    for step in (1, 2, 3):
                        self._world.report(started, step, log=f"Step {step}/3")
                self._world.complete(started)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without rows, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "aiforge.db"
    store = Store(f"sqlite:///{path}")
    store.run(events.latest)
    store.close()
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    model = tmp_path / "models" / BASE_MODEL
    model.mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"\0" * 8)
    return Settings(
        home=tmp_path / "home",
        source_roots=[tmp_path],
        model_roots=[model.parent],
        disk_reserve_bytes=0,
        max_upload_bytes=4 << 20,
        # Nothing listens there.
        ollama_url="http://127.0.0.1:9",
    )


@pytest.fixture
def world(settings: Settings, empty_database: Path) -> Iterator[World]:
    database = settings.home / "state" / "aiforge.db"
    database.parent.mkdir(parents=True)
    shutil.copy(empty_database, database)
    store = Store(settings.resolved_database_url)
    storage = Storage(settings.resolved_storage_uri)
    yield World(Services(LocalState(store), storage, settings), store)
    store.close()


@pytest.fixture(scope="session")
def only_app() -> FastAPI:
    """One application for all tests, since its routes take longer to build than most tests."""
    return create_app(cast(Services, None))


@pytest.fixture
def app(only_app: FastAPI, world: World) -> FastAPI:
    only_app.state.services = world.services
    return only_app


@pytest.fixture
def server(app: FastAPI) -> Iterator[str]:
    """Address of a server of the application."""
    yield from serve(app)


def serve(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an ASGI application from a thread as long as the generator lives."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    listening = uvicorn.Server(config)
    thread = threading.Thread(target=listening.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not listening.started:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.005)
    number = listening.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{number}"
    listening.should_exit = True
    thread.join(10)


@pytest.fixture
def api(app: FastAPI) -> Iterator[httpx.Client]:
    """HTTP to the application without a network, which is quick but does not stream."""
    with local_client(app) as client:
        yield client


def local_client(app: FastAPI) -> TestClient:
    """A client as it is on the server's own machine."""
    return TestClient(
        app,
        base_url="http://localhost",
        raise_server_exceptions=False,
        follow_redirects=False,
    )


@pytest.fixture
def live(server: str) -> Iterator[httpx.Client]:
    """HTTP to the server."""
    with httpx.Client(base_url=server, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def forge(server: str) -> Iterator[AIForge]:
    """The client of the server."""
    with AIForge(server, retry=RetryPolicy(attempts=3, backoff=0.01)) as client:
        yield client


def add_source(api: httpx.Client, world: World, repository: Path) -> str:
    """A source that was synced."""
    created = api.post("/data-sources", json={"type": "git", "url": str(repository)})
    assert created.status_code == 201, created.text
    source_id: str = created.json()["sourceId"]
    world.finish(source_id)
    return source_id


def add_dataset(api: httpx.Client, world: World, repository: Path) -> str:
    """A dataset that is ready."""
    body = {
        "name": "d",
        "sourceIds": [add_source(api, world, repository)],
        "baseModel": BASE_MODEL,
    }
    created = api.post("/datasets/generate", json=body)
    assert created.status_code == 201, created.text
    dataset_id: str = created.json()["datasetId"]
    world.finish(dataset_id)
    return dataset_id


def fine_tune_body(dataset_id: str, **changes: Any) -> dict[str, Any]:
    return {"projectName": "p", "datasetId": dataset_id, "baseModel": BASE_MODEL} | changes
