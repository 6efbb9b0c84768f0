"""A platform in this process whose deployments are carried out, with a server that is a double."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from exported_models import STOP, write_tiny
from ollama_double import OllamaDouble, serve
from served import local_client

from aiforge.api.factory import create_app
from aiforge.runtime.drivers import Driver
from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest
from aiforge.schemas.exports import ExportRequest, Quantization
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import Resources, Run, RunKind
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state import (
    datasets,
    exports,
    jobs,
    models,
    outcomes,
    runs,
    sources,
)
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage, export_dir

NONE = Resources()
PROJECT = "My project"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("llama_cpp")
    return write_tiny(tmp_path_factory.mktemp("gguf"))


@dataclass
class Platform:
    """The services, an API over them, and drivers that carry out deployments."""

    services: Services
    api: httpx.Client
    gguf: Path
    worker: Worker

    @property
    def state(self) -> LocalState:
        assert isinstance(self.services.state, LocalState)
        return self.services.state

    def complete(self, run_id: str, result: dict[str, Any]) -> None:
        run = self.state.call_sync(runs.start, run_id)
        self.state.call_sync(outcomes.complete, run_id, run.attempt, result)

    def dataset(self) -> str:
        new = sources.NewSource(
            id=new_id("src"), name="r", type="git", include_patterns=[], exclude_patterns=[]
        )
        created = self.state.call_sync(sources.create, new, NONE)
        synced = {
            "revision": "abc",
            "file_count": 1,
            "skipped_count": 0,
            "total_bytes": 1,
            "snapshot": "s",
        }
        self.complete(created.parsing_job_id, synced)
        request = GenerateRequest(name="d", source_ids=[created.source_id])
        dataset = self.state.call_sync(datasets.create, request, NONE)
        (run,) = self.state.call_sync(runs.waiting)
        self.complete(run.id, {"train_count": 9, "validation_count": 1, "chunk_count": 4})
        return dataset.id

    def train(self, project: str = PROJECT) -> str:
        """A model that was trained; its id."""
        request = FineTuneRequest(
            project_name=project, dataset_id=self.dataset(), base_model="forge-tiny"
        )
        job = self.state.call_sync(jobs.create, request, NONE)
        self.complete(job.id, {"steps": 1, "adapter_path": "a"})
        for run in self.state.call_sync(runs.waiting):
            # Whatever follows a training by itself.
            self.state.call_sync(outcomes.cancel, run.id)
        model = self.state.call_sync(models.of_job, job.id)
        assert model is not None
        return model.id

    def export(
        self, model_id: str, quantization: Quantization = "f16", lost: str | None = None
    ) -> str:
        """An export of the model as a run of kind ``export`` leaves it; its id."""
        model = self.state.call_sync(models.get, model_id)
        export = self.state.call_sync(
            exports.create, model.job_id, ExportRequest(quantization=quantization), NONE, lost
        )
        self.finish_export(self.waiting_export().id, export.export_id)
        return export.export_id

    def waiting_export(self) -> Run:
        """The export that is in the queue."""
        queue = self.state.call_sync(runs.waiting)
        return next(run for run in queue if run.kind is RunKind.EXPORT)

    def finish_export(self, run_id: str, export_id: str) -> None:
        # Each export is a file of its own digest.
        content = self.gguf.read_bytes() + export_id.encode()
        path = f"{export_dir(export_id)}/model.gguf"
        self.services.storage.write_bytes(path, content)
        import hashlib

        digest = hashlib.sha256(content).hexdigest()
        file = {"name": "model.gguf", "size": len(content), "sha256": digest}
        outcome = file | {"output_path": path, "files": [file], "stop_tokens": STOP}
        self.complete(run_id, outcome)

    def post(self, model_id: str, action: str, **body: Any) -> httpx.Response:
        return self.api.post(f"/models/{model_id}/{action}", json=body)

    def status(self, model_id: str) -> str:
        return str(self.state.call_sync(models.get, model_id).status)

    def ask(self, model: str, **changes: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]}
        return self.api.post(
            "/v1/chat/completions", json=body | {"max_tokens": 8, "temperature": 0} | changes
        )


class Worker:
    """Starts a driver for every deployment in the queue, as a dispatcher does."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._over = threading.Event()
        self.paused = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._drivers: list[Driver] = []
        self._thread.start()

    def _work(self) -> None:
        state = self._services.state
        while not self._over.wait(0.02):
            if self.paused.is_set():
                continue
            for run in state.call_sync(runs.waiting):
                if run.kind is RunKind.DEPLOY:
                    started = state.call_sync(runs.start, run.id)
                    settings = self._services.settings
                    self._drivers.append(Driver(settings, started.id, started.attempt, state=state))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for driver in self._drivers:
            driver.cancel()
            assert driver.join(60)


@pytest.fixture
def double(tmp_path: Path) -> OllamaDouble:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    return OllamaDouble(blobs)


@pytest.fixture
def ollama_url(double: OllamaDouble) -> Iterator[str]:
    with serve(double) as url:
        yield url


def open_platform(settings: Settings, gguf: Path) -> Iterator[Platform]:
    store = Store(settings.resolved_database_url)
    storage = Storage(settings.resolved_storage_uri)
    services = Services(LocalState(store), storage, settings)
    worker = Worker(services)
    with local_client(create_app(services)) as api:
        yield Platform(services, api, gguf, worker)
    worker.close()
    store.close()


@pytest.fixture
def platform(tmp_path: Path, gguf: Path, ollama_url: str) -> Iterator[Platform]:
    """One with an Ollama server."""
    yield from open_platform(Settings(home=tmp_path / "home", ollama_url=ollama_url), gguf)


@pytest.fixture
def alone(tmp_path: Path, gguf: Path) -> Iterator[Platform]:
    """One that has no Ollama server."""
    settings = Settings(home=tmp_path / "home", ollama_url="http://127.0.0.1:9")
    yield from open_platform(settings, gguf)


def wait_for(look: Callable[[], Any]) -> Any:
    """What a look gives as soon as it gives something."""
    pause = threading.Event()
    for _ in range(3000):
        if (found := look()) is not None:
            return found
        pause.wait(0.02)
    raise AssertionError("nothing happened within a minute")
