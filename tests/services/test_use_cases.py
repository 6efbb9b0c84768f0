"""The use cases that API, CLI and batch share, on a real state and real files."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from aiforge.errors import Conflict, InvalidInput, NotFound, Unavailable
from aiforge.schemas.common import Page
from aiforge.schemas.datasets import DatasetStatus, GenerateRequest
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import RunKind, RunStatus
from aiforge.schemas.sources import GitSourceRequest, SourceStatus
from aiforge.services import datasets, jobs, preflight, runs, sources, system
from aiforge.services.context import Services
from aiforge.services.probes import gpu_of
from aiforge.services.work import work_of
from aiforge.settings import Settings
from aiforge.sources import uploads
from aiforge.state import outcomes
from aiforge.state import runs as run_ops
from aiforge.state.access import LocalState, idempotency_key
from aiforge.state.store import Store
from aiforge.storage import Storage, dataset_dir, source_dir

T = TypeVar("T")

SYNCED = {
    "revision": "abc",
    "file_count": 1,
    "skipped_count": 0,
    "total_bytes": 1,
    "snapshot": "sources/s/snapshots/abc",
}
GENERATED = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.5}
URL = "https://example.org/team/tool.git"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path, model_roots=[tmp_path / "models"], ollama_url="http://127.0.0.1:9"
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    store = Store(settings.resolved_database_url)
    yield Services(LocalState(store), Storage(settings.resolved_storage_uri), settings)
    store.close()


@pytest.fixture
def base_model(settings: Settings) -> str:
    """A directory that looks like a base model; nothing loads it here."""
    directory = settings.model_roots[0] / "little"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(
        json.dumps({"model_type": "llama", "max_position_embeddings": 64})
    )
    (directory / "model.safetensors").write_bytes(b"\0" * 1000)
    (directory / "tokenizer.json").write_text("{}")
    return str(directory)


def do(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def finish(services: Services, run_id: str, result: dict[str, Any]) -> None:
    services.state.call_sync(run_ops.start, run_id)
    services.state.call_sync(outcomes.complete, run_id, 1, result)


def synced_source(services: Services) -> str:
    created = do(sources.create_git(services, GitSourceRequest(url=URL)))
    finish(services, created.parsing_job_id, SYNCED)
    return created.source_id


def ready_dataset(services: Services, base_model: str) -> str:
    request = GenerateRequest(name="d", source_ids=[synced_source(services)], base_model=base_model)
    made = do(datasets.generate(services, request))
    (run,) = services.state.call_sync(run_ops.waiting)
    finish(services, run.id, GENERATED)
    return made.dataset_id


def fine_tune(dataset_id: str, base_model: str, **changes: Any) -> FineTuneRequest:
    return FineTuneRequest(
        project_name="p", dataset_id=dataset_id, base_model=base_model, **changes
    )


def test_a_repository_is_named_after_itself_and_read(services: Services) -> None:
    created = do(sources.create_git(services, GitSourceRequest(url=URL)))
    source = do(sources.get(services, created.source_id))
    assert (source.name, source.status, source.type) == ("tool", SourceStatus.SYNCING, "git")
    assert do(sources.files(services, created.source_id, Page())).total == 0
    run = do(runs.get(services, created.parsing_job_id))
    assert (run.kind, run.resources) == (RunKind.SYNC, preflight.SYNC)


@pytest.mark.parametrize(
    "url", ["file:///etc", "/etc", "http://example.org/x", "ext::sh -c id", "--upload-pack=x"]
)
def test_an_address_that_may_not_be_read_is_refused_at_once(services: Services, url: str) -> None:
    with pytest.raises(InvalidInput):
        do(sources.create_git(services, GitSourceRequest(url=url)))
    assert do(sources.list_page(services, Page())).total == 0


def test_an_upload_is_kept_and_a_repeated_one_is_not_kept_twice(services: Services) -> None:
    def receive(storage: Storage, source_id: str) -> None:
        uploads.receive(storage, source_id, [("a.py", io.BytesIO(b"x = 1\n"))])

    key = idempotency_key("me", "POST /data-sources", "k", b"body")
    first = do(sources.create_upload(services, "mine", receive, key=key))
    again = do(sources.create_upload(services, "mine", receive, key=key))
    assert again == first
    assert services.storage.names("sources") == [first.source_id]


def test_a_refused_upload_leaves_nothing(services: Services) -> None:
    def receive(storage: Storage, source_id: str) -> None:
        storage.write_bytes(f"{source_dir(source_id)}/partial", b"x")
        raise InvalidInput("No files.", code="upload_empty")

    with pytest.raises(InvalidInput):
        do(sources.create_upload(services, "mine", receive))
    assert services.storage.names("sources") == []
    assert do(sources.list_page(services, Page())).total == 0


def test_deleting_removes_the_files_too(services: Services, base_model: str) -> None:
    dataset_id = ready_dataset(services, base_model)
    (source_id,) = do(datasets.get(services, dataset_id)).source_ids
    services.storage.write_bytes(f"{source_dir(source_id)}/x", b"x")
    services.storage.write_bytes(f"{dataset_dir(dataset_id)}/x", b"x")
    assert do(sources.delete(services, source_id)).message == "Deleted"
    assert do(datasets.delete(services, dataset_id)).message == "Deleted"
    assert not services.storage.exists(source_dir(source_id))
    assert not services.storage.exists(dataset_dir(dataset_id))
    with pytest.raises(NotFound):
        do(sources.delete(services, source_id))


def test_a_source_is_read_again(services: Services) -> None:
    source_id = synced_source(services)
    started = do(sources.sync(services, source_id))
    with pytest.raises(Conflict):
        do(sources.delete(services, source_id))
    assert do(runs.cancel(services, started.job_id)).status is RunStatus.CANCELLED
    assert do(sources.get(services, source_id)).status is SourceStatus.SYNCED


def test_a_dataset_shows_its_preview_and_report(services: Services, base_model: str) -> None:
    dataset_id = ready_dataset(services, base_model)
    assert do(datasets.get(services, dataset_id)).preview == []
    row = {"instruction": "i", "input": "", "output": "o"}
    directory = dataset_dir(dataset_id)
    services.storage.write_json(f"{directory}/preview.json", [row])
    services.storage.write_json(f"{directory}/report.json", {"kinds": {"api": 3}})
    detail = do(datasets.get(services, dataset_id))
    assert (detail.status, detail.preview) == (DatasetStatus.READY, [row])
    assert detail.report is not None
    assert detail.report.kinds == {"api": 3}


def test_a_job_is_queued_with_what_it_will_occupy(services: Services, base_model: str) -> None:
    request = fine_tune(ready_dataset(services, base_model), base_model, num_workers=2)
    key = idempotency_key("me", "POST /v1/fine-tune", "k", b"body")
    response = do(jobs.fine_tune(services, request, key))
    assert do(jobs.fine_tune(services, request, key)) == response
    assert response.message == "Training job queued successfully"
    need = do(runs.get(services, response.job_id)).resources
    assert (need.cpus, need.gpus) == (2.0, 0.0)
    assert need.memory_bytes == 2 * (preflight.WORKER_OVERHEAD_BYTES + 1000)
    assert do(jobs.list_page(services, Page(), RunStatus.QUEUED)).total == 1
    assert do(jobs.cancel(services, response.job_id)).message == "Job cancelled"
    assert do(jobs.logs(services, response.job_id)).logs == ["[WARNING] Cancelled on request."]
    assert do(jobs.metrics(services, response.job_id)).steps == []


def test_an_unknown_base_model_or_dataset_is_named(services: Services, base_model: str) -> None:
    with pytest.raises(InvalidInput) as unknown:
        do(jobs.fine_tune(services, fine_tune("ds-none", "no-such-model")))
    assert unknown.value.detail["field"] == "baseModel"
    with pytest.raises(InvalidInput) as missing:
        do(jobs.fine_tune(services, fine_tune("ds-none", base_model)))
    assert missing.value.detail["field"] == "datasetId"


def test_a_full_disk_refuses_new_work_with_the_remedy(
    services: Services, settings: Settings
) -> None:
    full = settings.model_copy(update={"disk_reserve_bytes": 1 << 60})
    there = Services(services.state, services.storage, full)
    with pytest.raises(Unavailable, match="Delete sources or datasets") as refused:
        do(sources.create_git(there, GitSourceRequest(url=URL)))
    assert refused.value.code == "disk_full"
    assert do(system.health(there)).status == "degraded"


def test_health_needs_the_state_and_nothing_else(services: Services, settings: Settings) -> None:
    found = do(system.health(services))
    assert (found.status, found.checks.database, found.checks.ollama) == ("healthy", True, False)
    gone = Services(
        LocalState(Store(f"sqlite:///{settings.home / 'gone' / 'aiforge.db'}")),
        services.storage,
        settings,
    )
    shutil.rmtree(settings.home / "gone")
    found = do(system.health(gone))
    assert (found.status, found.checks.database) == ("unhealthy", False)
    assert do(system.status(gone)).healthy is False


class Ollama(BaseHTTPRequestHandler):
    """As much of an Ollama server as the probe asks for."""

    def do_GET(self) -> None:
        answers = {"/api/version": {"version": "0.9"}, "/api/ps": {"models": [{"name": "m:1"}]}}
        body = json.dumps(answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_status_tells_of_ollama_and_the_queue(services: Services, settings: Settings) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    there = Services(
        services.state, services.storage, settings.model_copy(update={"ollama_url": url})
    )
    found = do(system.status(there))
    server.shutdown()
    server.server_close()
    assert (found.ollama.status, found.ollama.version) == ("running", "0.9")
    assert found.ollama.models_loaded == ["m:1"]
    assert found.healthy
    assert found.memory.total > found.memory.used > 0
    assert (found.running_jobs, found.queued_jobs) == (0, 0)


def test_a_gpu_that_hides_a_figure_is_still_listed() -> None:
    gpu = gpu_of("NVIDIA A100, 1024, 40960, 37, [N/A]")
    assert (gpu.name, gpu.memory_total) == ("NVIDIA A100", 40960 << 20)
    assert (gpu.utilization, gpu.temperature) == (37.0, None)


def test_the_request_side_imports_neither_torch_nor_ray() -> None:
    names = "context, datasets, exports, jobs, models, runs, sources, system, streams"
    code = (
        f"import sys; from aiforge.services import {names}; "
        "print([m for m in ('torch', 'ray', 'transformers', 'alembic') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", RunKind)
def test_every_kind_of_run_has_work(kind: RunKind) -> None:
    assert callable(work_of(kind))
