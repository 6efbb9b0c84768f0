"""Exports over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from served import EXPORTED_BYTES, World, add_dataset, fine_tune_body

from aiforge.schemas.runs import RunKind
from aiforge.services.exported import SUSPECTED_FILE
from aiforge.state import outcomes, runs
from aiforge.storage import export_dir


@pytest.fixture
def queued(
    api: httpx.Client, world: World, make_repository: Callable[[Mapping[str, str]], object]
) -> str:
    """A job that waits."""
    dataset_id = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))  # type: ignore[arg-type]
    job_id: str = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
    return job_id


@pytest.fixture
def job_id(world: World, queued: str) -> str:
    """A job that has completed."""
    world.finish(queued)
    return queued


def test_an_export_is_answered_when_it_is_done(
    api: httpx.Client, world: World, job_id: str
) -> None:
    with world.working():
        answer = api.post(f"/jobs/{job_id}/export", json={"quantization": "q4_k_m"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert {"exportId", "status", "outputPath", "ollamaName"} <= body.keys()
    assert (body["status"], body["quantization"], body["format"]) == ("completed", "q4_k_m", "gguf")
    assert body["outputPath"] == "/exports/1/model.gguf"
    again = api.post(f"/jobs/{job_id}/export", json={})
    assert again.json() == body


def test_who_does_not_wait_follows_it_up(api: httpx.Client, world: World, job_id: str) -> None:
    running = api.post(f"/jobs/{job_id}/export?wait=0", json={"quantization": "q8_0"}).json()
    assert (running["status"], running["outputPath"]) == ("running", None)
    path = f"/jobs/{job_id}/exports/{running['exportId']}"
    assert api.get(f"{path}/file").status_code == 409
    world.finish(running["exportId"])
    done = api.get(path).json()
    assert (done["status"], done["parity"]) == ("completed", None)
    listed = api.get(f"/jobs/{job_id}/exports")
    assert [item["exportId"] for item in listed.json()] == [running["exportId"]]
    assert listed.headers["x-total-count"] == "1"


def test_a_failed_export_is_an_error_and_can_be_asked_for_again(
    api: httpx.Client, world: World, job_id: str
) -> None:
    first = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()["exportId"]
    world.fail(world.start(first), "It is not the model.", "parity_failed")
    assert api.get(f"/jobs/{job_id}/exports/{first}").json()["errorCode"] == "parity_failed"
    second = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()
    assert second["exportId"] != first


def test_the_file_can_be_had_whole_and_in_parts(
    api: httpx.Client, world: World, job_id: str
) -> None:
    export_id = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()["exportId"]
    world.finish(export_id)
    path = f"/jobs/{job_id}/exports/{export_id}/file"
    whole = api.get(path)
    assert (whole.status_code, whole.content) == (200, EXPORTED_BYTES)
    part = api.get(path, headers={"Range": "bytes=3-5"})
    assert (part.status_code, part.content) == (206, b"345")
    assert part.headers["content-range"] == "bytes 3-5/10"
    assert api.get(path, headers={"Range": "bytes=10-"}).status_code == 416
    assert api.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    named = path.replace("/file", "/files/model.gguf")
    assert api.get(named).content == EXPORTED_BYTES
    assert api.get(path.replace("/file", "/files/other.gguf")).status_code == 404
    assert api.get(path.replace("/file", "/files/..%2f..%2fx")).status_code in (400, 404)
    world.services.storage.delete(f"{export_dir(export_id)}/model.gguf")
    assert api.get(path).json()["detail"]["code"] == "file_not_found"


def test_only_a_completed_job_can_be_exported(api: httpx.Client, queued: str) -> None:
    answer = api.post(f"/jobs/{queued}/export", json={})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "job_not_completed")
    assert api.post("/jobs/job-none/export", json={}).status_code == 404
    assert api.get("/jobs/job-none/exports").status_code == 404
    assert api.get(f"/jobs/{queued}/exports/export-none").status_code == 404


def test_a_deleted_export_is_gone_with_its_files_and_can_be_made_anew(
    api: httpx.Client, world: World, job_id: str
) -> None:
    running = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()["exportId"]
    path = f"/jobs/{job_id}/exports/{running}"
    early = api.delete(path)
    world.finish(running)
    key = {"Idempotency-Key": "once"}

    elsewhere = api.delete(f"/jobs/job-other/exports/{running}")
    deleted = api.delete(path, headers=key)

    assert (early.status_code, early.json()["detail"]["code"]) == (409, "export_not_ended")
    assert elsewhere.status_code == 404
    assert (deleted.status_code, deleted.json()) == (200, {"message": "Deleted"})
    assert api.delete(path, headers=key).json() == deleted.json()
    assert api.delete(path).json()["detail"]["code"] == "export_not_found"
    assert api.get(f"{path}/file").status_code == 404
    assert world.services.storage.names("exports") == []
    again = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()["exportId"]
    assert again != running


def test_an_export_that_waits_or_is_being_made_can_be_cancelled(
    api: httpx.Client, world: World, job_id: str
) -> None:
    waiting = api.post(f"/jobs/{job_id}/export?wait=0", json={"quantization": "q8_0"}).json()
    begun = api.post(f"/jobs/{job_id}/export?wait=0", json={"quantization": "f16"}).json()
    run = world.start(begun["exportId"])
    paths = [f"/jobs/{job_id}/exports/{one['exportId']}" for one in (waiting, begun)]
    assert api.post(f"/jobs/job-other/exports/{begun['exportId']}/cancel").status_code == 404

    for path in paths:
        for _ in range(2):
            answer = api.post(f"{path}/cancel")
            assert (answer.status_code, answer.json()) == (200, {"message": "Export cancelled"})
    stopping = api.get(paths[1]).json()
    instead = api.post(f"/jobs/{job_id}/export?wait=0", json={"quantization": "f16"}).json()
    world.services.state.call_sync(outcomes.cancelled, run.id, run.attempt)

    assert (stopping["status"], stopping["stage"]) == ("running", "cancelling")
    # Who asks again is not given what nothing comes of.
    assert instead["exportId"] != begun["exportId"]
    for path in paths:
        ended = api.get(path).json()
        assert (ended["status"], ended["errorCode"]) == ("failed", "cancelled")
        assert api.delete(path).status_code == 200
        assert api.post(f"{path}/cancel").json()["detail"]["code"] == "export_not_found"
    world.finish(instead["exportId"])
    late = api.post(f"/jobs/{job_id}/exports/{instead['exportId']}/cancel")
    assert (late.status_code, late.json()["detail"]["code"]) == (409, "run_is_completed")


def test_who_waits_for_an_export_learns_that_it_was_cancelled(
    live: httpx.Client, world: World, job_id: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.post, f"/jobs/{job_id}/export?wait=60", json={})
        export_id = None
        while export_id is None:
            queue = world.services.state.call_sync(runs.waiting)
            export_id = next((r.resource_id for r in queue if r.kind is RunKind.EXPORT), None)
        live.post(f"/jobs/{job_id}/exports/{export_id}/cancel").raise_for_status()
        told = waiting.result(60)
    assert (told.status_code, told.json()["detail"]["code"]) == (409, "export_cancelled")


@pytest.mark.parametrize(
    ("spoilt", "noticed", "is_made_anew"),
    [
        (None, False, True),
        (EXPORTED_BYTES[:-1], False, True),
        (EXPORTED_BYTES[::-1], True, True),
        # A reader was mistaken, or someone put it right.
        (EXPORTED_BYTES, True, False),
    ],
)
def test_what_was_lost_is_made_anew_when_it_is_asked_for_again(
    api: httpx.Client,
    world: World,
    job_id: str,
    spoilt: bytes | None,
    noticed: bool,
    is_made_anew: bool,
) -> None:
    first = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()["exportId"]
    world.finish(first)
    storage, path = world.services.storage, f"{export_dir(first)}/model.gguf"
    storage.delete(path)
    if spoilt is not None:
        storage.write_bytes(path, spoilt)
    if noticed:
        storage.write_bytes(f"{export_dir(first)}/{SUSPECTED_FILE}", b"")

    again = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()

    assert (again["exportId"] != first) == is_made_anew
    assert (again["status"] == "running") == is_made_anew
    assert api.get(f"/jobs/{job_id}/exports").headers["x-total-count"] == "1"
    assert storage.exists(export_dir(first)) != is_made_anew
    assert not storage.exists(f"{export_dir(first)}/{SUSPECTED_FILE}")
    assert api.post(f"/jobs/{job_id}/export?wait=0", json={}).json() == again


def test_an_export_is_found_under_its_own_job_alone(
    api: httpx.Client, world: World, job_id: str
) -> None:
    export_id = api.post(f"/jobs/{job_id}/export?wait=0", json={}).json()["exportId"]
    assert api.get(f"/jobs/job-other/exports/{export_id}").status_code == 404
    assert api.get(f"/jobs/job-other/exports/{export_id}/file").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"quantization": "q5_0"}, 400, "quantization"),
        ({"format": "onnx"}, 400, "format"),
        ({"format": "safetensors", "quantization": "q4_k_m"}, 400, "quantization"),
        ({"format": "peft", "quantization": "f16"}, 400, "quantization"),
        ({"quantisation": "q4_k_m"}, 422, "quantisation"),
        ({"deployToOllama": "perhaps"}, 422, "deployToOllama"),
    ],
)
def test_what_cannot_be_had_is_refused(
    api: httpx.Client, job_id: str, body: dict[str, str], status: int, field: str
) -> None:
    answer = api.post(f"/jobs/{job_id}/export", json=body)
    assert (answer.status_code, answer.json()["detail"]["field"]) == (status, field)


def test_a_base_that_could_not_be_exported_is_not_trained(
    api: httpx.Client, world: World, queued: str
) -> None:
    model = world.services.settings.model_roots[0] / "odd"
    model.mkdir()
    for name in ("tokenizer.json", "model.safetensors"):
        (model / name).write_bytes(b"{}")
    (model / "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "relu"}'
    )
    dataset_id = api.get("/datasets").json()[0]["id"]
    answer = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id, baseModel="odd"))
    assert (answer.status_code, answer.json()["detail"]["code"]) == (400, "not_exportable")
    assert "gemma2" in answer.json()["message"]
    (model / "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
    )
    (model / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    answer = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id, baseModel="odd"))
    assert (answer.status_code, answer.json()["detail"]["code"]) == (400, "not_exportable")
    assert "Unigram" in answer.json()["message"]
