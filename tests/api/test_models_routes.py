"""The model registry over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from served import World, add_dataset, fine_tune_body


@pytest.fixture
def job_ids(
    api: httpx.Client, world: World, make_repository: Callable[[Mapping[str, str]], Path]
) -> list[str]:
    """Jobs that completed: two of project ``p``, then one of ``q``."""
    dataset_id = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))
    found = []
    for project in ("p", "p", "q"):
        body = fine_tune_body(dataset_id, projectName=project)
        found.append(api.post("/v1/fine-tune", json=body).json()["jobId"])
        world.finish(found[-1])
    return found


def test_models_have_the_keys_of_the_reference(api: httpx.Client, job_ids: list[str]) -> None:
    listed = api.get("/models")

    first = listed.json()[-1]
    keys = {"id", "name", "baseModel", "status", "createdAt", "metrics", "ollamaName"}
    assert keys <= first.keys()
    assert first["metrics"].keys() == {"codebleu", "humaneval", "perplexity", "avgLatency"}
    assert (first["name"], first["status"], first["jobId"]) == ("p-v1", "ready", job_ids[0])
    assert listed.headers["x-total-count"] == "3"
    assert api.get(f"/models/{first['id']}").json() == first


def test_models_are_filtered_and_paged(api: httpx.Client, job_ids: list[str]) -> None:
    assert [m["name"] for m in api.get("/models?limit=2&offset=1").json()] == ["p-v2", "p-v1"]
    assert [m["jobId"] for m in api.get("/models?projectName=q").json()] == [job_ids[2]]
    assert api.get("/models?status=active").json() == []
    assert api.get("/models?status=asleep").status_code == 400


@pytest.mark.parametrize("path", ["/models/active", "/models/active?projectName=p"])
def test_no_model_is_active_before_one_was_activated(
    api: httpx.Client, job_ids: list[str], path: str
) -> None:
    answer = api.get(path)

    assert answer.status_code == 404
    assert answer.json()["detail"]["code"] == "no_active_model"


@pytest.mark.parametrize("what", ["", "/lineage", "/history"])
def test_unknown_models_are_404(api: httpx.Client, what: str) -> None:
    answer = api.get(f"/models/model-none{what}")

    assert answer.status_code == 404
    assert answer.json()["detail"]["code"] == "model_not_found"


def test_lineage_leads_to_job_dataset_and_commit(
    api: httpx.Client, world: World, job_ids: list[str]
) -> None:
    model_id = api.get("/models").json()[0]["id"]

    lineage = api.get(f"/models/{model_id}/lineage").json()

    assert lineage["job"]["id"] == job_ids[2]
    assert lineage["dataset"]["exists"]
    assert lineage["sources"][0]["revision"] == "4f2d3a9c1b"


def test_a_deleted_model_is_gone_and_its_history_stays(
    api: httpx.Client, job_ids: list[str]
) -> None:
    model_id = api.get("/models").json()[0]["id"]

    deleted = api.delete(f"/models/{model_id}?reason=mistake")

    assert (deleted.status_code, deleted.json()) == (200, {"message": "Deleted"})
    assert api.get(f"/models/{model_id}").status_code == 404
    assert api.delete(f"/models/{model_id}").status_code == 404
    entry = api.get(f"/models/{model_id}/history").json()[-1]
    assert (entry["action"], entry["actor"], entry["reason"]) == ("deleted", "local", "mistake")
