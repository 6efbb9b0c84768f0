"""Validations over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from served import World, add_dataset, fine_tune_body

from aiforge.client import AIForge
from aiforge.errors import Conflict


@pytest.fixture
def job_id(
    api: httpx.Client, world: World, make_repository: Callable[[Mapping[str, str]], Path]
) -> str:
    """A job that was trained and not yet validated."""
    dataset_id = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))
    created: str = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
    world.finish(created)
    return created


def test_a_validation_has_the_keys_of_the_reference(
    api: httpx.Client, world: World, job_id: str
) -> None:
    early = api.get(f"/jobs/{job_id}/validation")
    assert early.status_code == 409
    assert early.json()["detail"]["code"] == "validation_under_way"
    assert early.json()["detail"]["status"] == "queued"
    world.finish(job_id)

    measured = api.get(f"/jobs/{job_id}/validation").json()

    assert {"jobId", "modelId", "runAt", "metrics", "passed"} <= measured.keys()
    assert {"codebleu", "humaneval", "perplexity", "latency"} <= measured["metrics"].keys()
    assert measured["metrics"]["samples"] == {"codebleu": 9}
    assert measured["gates"][0]["metric"] == "codebleu"
    assert (measured["passed"], measured["policy"], measured["championId"]) == (True, "tiny", None)
    model = api.get("/models").json()[0]
    assert (model["id"], model["metrics"]["avgLatency"]) == (measured["modelId"], 7.0)


def test_it_can_be_asked_for_again_once_for_each_key(
    api: httpx.Client, world: World, job_id: str
) -> None:
    world.finish(job_id)
    path, key = f"/jobs/{job_id}/validation", {"Idempotency-Key": "again"}

    first = api.post(path, json={"policy": "default"}, headers=key)
    run_id = first.json()["runId"]
    world.finish(job_id)
    repeated = api.post(path, json={"policy": "default"}, headers=key)
    other = api.post(path, json={"policy": "tiny"}, headers=key)
    fresh = api.post(path)

    assert first.status_code == repeated.status_code == fresh.status_code == 200
    assert repeated.json() == first.json()
    assert other.status_code == 409
    assert fresh.json()["runId"] != run_id
    assert fresh.json()["status"] == "queued"
    pending = api.get(path).json()
    assert (pending["runId"], pending["pendingRunId"]) == (run_id, fresh.json()["runId"])


def test_wrong_requests_are_told(api: httpx.Client, world: World, job_id: str) -> None:
    path = f"/jobs/{job_id}/validation"

    unknown = api.post(path, json={"policy": "strict"})
    assert unknown.status_code == 400
    assert unknown.json()["detail"]["code"] == "unknown_policy"
    assert api.post(path, json={"polcy": "tiny"}).status_code == 422
    assert api.post("/jobs/job-none/validation").status_code == 404
    world.start(job_id)
    world.fail(world.run_of(job_id))
    failed = api.get(path)
    assert failed.status_code == 409
    assert failed.json()["detail"]["code"] == "model_not_validated"
    assert "POST" in failed.json()["message"]


def test_the_client_waits_for_what_is_measured(forge: AIForge, world: World, job_id: str) -> None:
    with pytest.raises(Conflict) as caught:
        forge.jobs.validation(job_id)
    assert caught.value.code == "validation_under_way"

    with world.working():
        measured = forge.jobs.wait_validation(job_id, timeout=20)
        started = forge.jobs.get(job_id).validate_again(policy="default")
        again = forge.jobs.wait_validation(job_id, timeout=20)

    assert measured.metrics.codebleu == 0.5
    assert again.run_id == started.run_id != measured.run_id
