"""Each route answers as the reference says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from served import World, add_dataset, add_source, fine_tune_body, local_client

from aiforge.api.factory import create_app
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage

ENVELOPE = "application/vnd.aiforge.envelope+json"


@pytest.fixture
def repository(make_repository: Callable[[Mapping[str, str]], Path]) -> Path:
    return make_repository({"a.py": "x = 1\n"})


def test_health_has_every_check(api: httpx.Client) -> None:
    answer = api.get("/health")

    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"
    assert answer.json()["checks"] == {"database": True, "ollama": False, "gpu": False}


def test_health_without_state_is_unhealthy(settings: Settings, tmp_path: Path) -> None:
    # A directory is no database.
    state = LocalState(Store(f"sqlite:///{tmp_path}"))
    services = Services(state, Storage(settings.resolved_storage_uri), settings)

    with local_client(create_app(services)) as api:
        answer = api.get("/health")
        refused = api.get("/jobs")

    assert refused.status_code == 503
    assert refused.headers["retry-after"]

    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"


def test_status_has_the_keys_of_the_reference(api: httpx.Client) -> None:
    status = api.get("/status").json()

    keys = {"healthy", "version", "uptime", "cpu", "memory", "gpu", "ollama", "runningJobs"}
    assert keys <= status.keys()
    assert status["memory"]["total"] > status["memory"]["used"] > 0


def test_source_from_registration_to_deletion(
    api: httpx.Client, world: World, repository: Path
) -> None:
    created = api.post(
        "/data-sources",
        json={"type": "git", "url": str(repository), "name": "r", "includePatterns": ["*.py"]},
    )
    assert created.status_code == 201
    source_id = created.json()["sourceId"]
    assert created.json()["parsingJobId"].startswith("parse-")
    assert api.get(f"/data-sources/{source_id}").json()["status"] == "syncing"
    assert api.delete(f"/data-sources/{source_id}").status_code == 409
    world.finish(source_id)

    source = api.get(f"/data-sources/{source_id}").json()

    assert source["status"] == "synced"
    assert source["fileCount"] == 3
    assert source["includePatterns"] == ["*.py"]
    assert source["lastSyncedAt"].endswith("Z")
    again = api.post(f"/data-sources/{source_id}/sync")
    assert again.status_code == 200
    assert again.json()["message"] == "Sync started"
    assert api.post(f"/data-sources/{source_id}/sync").status_code == 409
    world.finish(source_id)
    assert api.delete(f"/data-sources/{source_id}").json() == {"message": "Deleted"}
    assert api.get(f"/data-sources/{source_id}").status_code == 404


def test_dataset_from_request_to_deletion(
    api: httpx.Client, world: World, repository: Path
) -> None:
    dataset_id = add_dataset(api, world, repository)

    listed = api.get("/datasets").json()[0]
    detail = api.get(f"/datasets/{dataset_id}").json()

    keys = {"id", "name", "exampleCount", "format", "createdAt", "sourceIds", "quality"}
    assert keys <= listed.keys()
    assert detail["exampleCount"] == 10
    assert detail["preview"] == []
    assert api.delete(f"/datasets/{dataset_id}").json() == {"message": "Deleted"}


def test_job_from_request_to_completion(api: httpx.Client, world: World, repository: Path) -> None:
    dataset_id = add_dataset(api, world, repository)
    created = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id, epochs=2))
    assert created.status_code == 201
    job_id = created.json()["jobId"]
    assert created.json() == {
        "jobId": job_id,
        "status": "queued",
        "message": "Training job queued successfully",
    }
    run = world.start(job_id)
    world.report(run, 1, 2, log="Half way")

    job = api.get(f"/jobs/{job_id}").json()

    assert (job["status"], job["method"]) == ("running", "pissa")
    assert job["metrics"]["currentStep"] == 2
    assert job["config"]["epochs"] == 2
    assert job["error"] is None
    metrics = api.get(f"/jobs/{job_id}/metrics").json()
    assert metrics["steps"] == [1, 2]
    assert metrics["losses"] == [3.0, 1.5]
    assert "[INFO] Half way" in api.get(f"/jobs/{job_id}/logs").json()["logs"]
    assert len(api.get(f"/jobs/{job_id}/logs?tail=1").json()["logs"]) == 1
    assert api.get(f"/jobs/{job_id}/validation").status_code == 404
    world.complete(run)
    assert api.get(f"/jobs/{job_id}").json()["result"]["adapterPath"] == "/adapters/1"
    refused = api.delete(f"/jobs/{job_id}")
    assert refused.status_code == 409
    assert refused.json()["detail"]["code"] == "job_is_completed"


def test_cancelling_twice_is_no_error(api: httpx.Client, world: World, repository: Path) -> None:
    dataset_id = add_dataset(api, world, repository)
    job_id = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]

    answers = [api.delete(f"/jobs/{job_id}") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == {"message": "Job cancelled"}
    assert api.get(f"/jobs/{job_id}").json()["status"] == "cancelled"


def test_jobs_are_filtered_and_paged_newest_first(
    api: httpx.Client, world: World, repository: Path
) -> None:
    dataset_id = add_dataset(api, world, repository)
    ids = [
        api.post("/v1/fine-tune", json=fine_tune_body(dataset_id, projectName=name)).json()["jobId"]
        for name in ("a", "b", "c")
    ]
    world.finish(ids[0])

    page = api.get("/jobs", params={"limit": 2, "offset": 1})

    assert [job["id"] for job in page.json()] == [ids[1], ids[0]]
    assert page.headers["x-total-count"] == "3"
    queued = api.get("/jobs?status=queued")
    assert [job["id"] for job in queued.json()] == [ids[2], ids[1]]
    assert queued.headers["x-total-count"] == "2"
    assert [job["id"] for job in api.get("/jobs?projectName=a").json()] == [ids[0]]


def test_envelope_is_given_to_who_accepts_it(
    api: httpx.Client, world: World, repository: Path
) -> None:
    add_source(api, world, repository)
    headers = {"Accept": ENVELOPE}

    page = api.get("/data-sources?limit=7", headers=headers)
    health = api.get("/health", headers=headers)
    error = api.get("/jobs/job-none", headers=headers)

    assert page.headers["content-type"] == ENVELOPE
    assert page.json()["data"] == api.get("/data-sources").json()
    meta = page.json()["meta"]
    assert (meta["total"], meta["limit"], meta["offset"]) == (1, 7, 0)
    assert meta["timestamp"].endswith("Z")
    assert set(health.json()) == {"data", "meta"}
    assert set(health.json()["meta"]) == {"timestamp"}
    assert set(error.json()) == {"status", "message", "detail"}


def test_repeated_request_with_a_key_happens_once(
    api: httpx.Client, world: World, repository: Path
) -> None:
    dataset_id = add_dataset(api, world, repository)
    headers = {"Idempotency-Key": "k-1"}
    body = fine_tune_body(dataset_id)

    first = api.post("/v1/fine-tune", json=body, headers=headers)
    second = api.post("/v1/fine-tune", json=body, headers=headers)
    other = api.post("/v1/fine-tune", json=body | {"epochs": 2}, headers=headers)

    assert first.json() == second.json()
    assert len(api.get("/jobs").json()) == 1
    assert other.status_code == 409
    assert other.json()["detail"]["code"] == "idempotency_key_reused"


def test_request_id_is_the_clients_where_it_is_harmless(api: httpx.Client) -> None:
    chosen = api.get("/health", headers={"X-Request-Id": "abc-1"})
    hostile = api.get("/nowhere", headers={"X-Request-Id": "a b"})

    assert chosen.headers["x-request-id"] == "abc-1"
    assert hostile.headers["x-request-id"].startswith("req-")
    assert hostile.json()["detail"]["requestId"] == hostile.headers["x-request-id"]
