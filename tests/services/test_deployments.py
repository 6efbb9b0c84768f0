"""From an exported model to one that answers, through runs, the API and a server."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from deployed import NONE, PROJECT, Platform, wait_for
from exported_models import STOP
from ollama_double import OllamaDouble
from served import serve as serve_api

from aiforge.client import AIForge, RetryPolicy
from aiforge.runtime.drivers import Driver
from aiforge.schemas.models import ModelStatus
from aiforge.schemas.runs import RunStatus
from aiforge.state import answering, deployments, exports, locks, models, outcomes, runs
from aiforge.storage import dataset_dir, export_dir


def test_deploy_activate_second_version_and_rollback(
    platform: Platform, double: OllamaDouble
) -> None:
    first = platform.train()
    platform.export(first)

    deployed = platform.post(first, "deploy")
    assert deployed.status_code == 200, deployed.text
    tag = deployed.json()["ollamaName"]
    assert (deployed.status_code, deployed.json()["message"]) == (200, "Deployed successfully")
    assert platform.status(first) == "ready"
    assert double.names[tag].stop == tuple(STOP)
    activated = platform.post(first, "activate", reason="the first")
    assert (activated.status_code, activated.json()["message"]) == (200, "Activated")
    assert platform.api.get("/models/active").json()["id"] == first

    second = platform.train()
    platform.export(second)
    assert platform.post(second, "activate").json()["detail"]["code"] == "model_not_deployed"
    assert platform.post(second, "deploy").status_code == 200
    assert platform.post(second, "activate").status_code == 200
    latest = tag.replace(":v1", ":latest")
    assert double.names[latest] == double.names[tag.replace(":v1", ":v2")]
    assert (platform.status(first), platform.status(second)) == ("ready", "active")

    back = platform.post(second, "rollback", reason="worse answers")
    assert (back.status_code, back.json()["message"]) == (200, "Rolled back")
    assert back.json()["modelId"] == first
    assert double.names[latest] == double.names[tag]
    active = platform.api.get(f"/models/active?projectName={PROJECT}").json()
    assert (active["id"], active["ollamaName"], active["engine"]) == (first, latest, "ollama")
    assert platform.post(first, "rollback").json()["detail"]["code"] == "nothing_to_roll_back_to"
    assert platform.post(second, "rollback").json()["detail"]["code"] == "model_not_active"
    history = platform.api.get(f"/models/{second}/history").json()
    assert [(entry["action"], entry["reason"]) for entry in history] == [
        ("registered", None),
        ("deployed", None),
        ("activated", None),
        ("rolled_back", "worse answers"),
    ]
    assert (history[3]["modelId"], history[3]["previousModelId"]) == (first, second)
    assert history[3]["actor"] == "local"


def test_the_client_deploys_and_answers_are_the_active_versions(platform: Platform) -> None:
    model_id = platform.train()
    platform.export(model_id)
    for action in ("deploy", "activate"):
        assert platform.post(model_id, action).status_code == 200

    answer = platform.ask(PROJECT)

    body = answer.json()
    assert answer.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["system_fingerprint"] == model_id
    assert body["choices"][0]["message"]["role"] == "assistant"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 8
    listed = platform.api.get("/v1/models").json()
    assert [(one["id"], one["root"]) for one in listed["data"]] == [(PROJECT, f"{PROJECT}-v1")]
    names = [model_id, f"{PROJECT}-v1", "my-project-"]
    tag = platform.api.get(f"/models/{model_id}").json()["ollamaName"]
    assert tag.startswith(names[2])
    for name in (model_id, f"{PROJECT}-v1", tag, tag.replace(":latest", ":v1"), tag.split(":")[0]):
        assert platform.ask(name).json()["choices"] == body["choices"], name
    assert platform.ask("nobody").status_code == 404


def test_a_model_without_an_export_is_exported_first(
    platform: Platform, double: OllamaDouble
) -> None:
    model_id = platform.train()

    begun = platform.api.post(f"/models/{model_id}/deploy?wait=0")
    assert begun.json()["message"] == "Deployment is under way"
    assert platform.post(model_id, "deploy").json()["detail"]["code"] == "model_busy"
    assert platform.api.delete(f"/models/{model_id}").status_code == 409
    waiting = platform.waiting_export()
    platform.finish_export(waiting.id, waiting.resource_id)
    run_id = begun.json()["runId"]
    ended = wait_for(lambda: platform.state.call_sync(runs.ended, run_id))

    assert ended.status is RunStatus.COMPLETED
    assert platform.status(model_id) == "ready"
    assert double.names


def test_an_active_version_that_is_deployed_again_stays_the_active_one(
    platform: Platform, double: OllamaDouble
) -> None:
    model_id = platform.train()
    platform.export(model_id)
    for action in ("deploy", "activate"):
        assert platform.post(model_id, action).status_code == 200
    (tag, latest) = sorted(double.names, key=lambda name: name.endswith(":latest"))
    before = double.names[latest]
    newest = platform.export(model_id, "q8_0")

    assert platform.post(model_id, "deploy").status_code == 200

    assert double.names[latest] == double.names[tag] != before
    assert platform.status(model_id) == "active"
    assert platform.state.call_sync(answering.served, model_id).digest == double.names[tag].digest
    assert platform.state.call_sync(exports.get, newest).sha256 in double.names[tag].blob


def test_an_export_that_failed_ends_the_deployment(platform: Platform) -> None:
    model_id = platform.train()
    begun = platform.api.post(f"/models/{model_id}/deploy?wait=0").json()
    waiting = platform.waiting_export()
    run = platform.state.call_sync(runs.start, waiting.id)
    platform.state.call_sync(outcomes.fail, run.id, 1, "A weight is NaN.", "weights_not_finite")

    ended = wait_for(lambda: platform.state.call_sync(runs.ended, begun["runId"]))

    assert (ended.status, ended.error_code) == (RunStatus.FAILED, "model_not_exported")
    assert "A weight is NaN" in (ended.error or "")
    assert platform.status(model_id) == "failed"


def test_a_failed_activation_leaves_everything_as_it_was(
    platform: Platform, double: OllamaDouble
) -> None:
    first, second = platform.train(), platform.train()
    for model_id in (first, second):
        platform.export(model_id)
        assert platform.post(model_id, "deploy").status_code == 200
    assert platform.post(first, "activate").status_code == 200
    before = dict(double.names)
    double.faults.silent = True

    failed = platform.post(second, "activate")

    assert (failed.status_code, failed.json()["detail"]["code"]) == (409, "probe_failed")
    assert double.names == before
    assert (platform.status(first), platform.status(second)) == ("active", "ready")
    entry = platform.api.get(f"/models/{second}/history").json()[-1]
    assert (entry["action"], entry["detail"]["errorCode"]) == ("activation_failed", "probe_failed")


def test_a_model_that_was_deleted_on_the_server_comes_back_when_it_is_activated(
    platform: Platform, double: OllamaDouble
) -> None:
    model_id = platform.train()
    platform.export(model_id)
    for action in ("deploy", "activate"):
        assert platform.post(model_id, action).status_code == 200
    double.names.clear()
    double.close()

    missing = platform.ask(PROJECT)
    again = platform.post(model_id, "activate")

    assert (missing.status_code, missing.json()["detail"]["code"]) == (404, "ollama_model_missing")
    assert again.status_code == 200
    assert platform.ask(PROJECT).status_code == 200


def test_an_activation_that_died_behind_the_copy_is_settled_by_the_next_run(
    platform: Platform, double: OllamaDouble
) -> None:
    first, second = platform.train(), platform.train()
    for model_id in (first, second):
        platform.export(model_id)
        assert platform.post(model_id, "deploy").status_code == 200
    assert platform.post(first, "activate").status_code == 200
    one, two = sorted(name for name in double.names if not name.endswith(":latest"))
    latest = one.replace(":v1", ":latest")
    double.names[latest] = double.names[two]

    # Whatever run comes next on this server.
    assert platform.post(second, "deploy").status_code == 200

    assert double.names[latest] == double.names[one]


def test_a_lock_outlives_a_restart_of_its_holder_and_nothing_else(platform: Platform) -> None:
    platform.worker.paused.set()
    first, second = platform.train("a"), platform.train("b")
    queued = [
        platform.state.call_sync(deployments.deploy, one, "me", None, NONE)
        for one in (first, second)
    ]
    held, waits = [platform.state.call_sync(runs.start, run.id) for run in queued]
    take = platform.state.call_sync
    assert take(locks.acquire, "s", held.id, 1) == held.id
    assert take(locks.acquire, "s", waits.id, 1) == held.id
    take(outcomes.recover, held.id, 1, "its driver died")
    assert take(locks.acquire, "s", waits.id, 1) == held.id
    assert take(locks.acquire, "s", held.id, 2) == held.id
    take(outcomes.fail, held.id, 2, "no", "no")
    assert take(locks.acquire, "s", waits.id, 1) == waits.id


def test_without_ollama_an_exported_model_answers_all_the_same(alone: Platform) -> None:
    first, second = alone.train(), alone.train()
    refused = alone.post(first, "activate")
    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "model_not_exported")
    for model_id in (first, second):
        alone.export(model_id)

    away = alone.post(first, "deploy")
    activated = [alone.post(model_id, "activate") for model_id in (first, second)]

    assert (away.status_code, away.json()["detail"]["code"]) == (503, "ollama_unreachable")
    assert away.headers["retry-after"]
    assert [answer.status_code for answer in activated] == [200, 200]
    active = alone.api.get("/models/active").json()
    assert (active["id"], active["engine"], active["ollamaName"]) == (second, "llama.cpp", None)
    assert alone.ask(PROJECT).json()["system_fingerprint"] == second
    assert alone.post(second, "rollback").json()["modelId"] == first
    assert alone.ask(PROJECT).json()["system_fingerprint"] == first


def test_streams_are_openais(alone: Platform) -> None:
    model_id = alone.train()
    alone.export(model_id)
    assert alone.post(model_id, "activate").status_code == 200
    whole = alone.ask(PROJECT).json()

    answer = alone.ask(PROJECT, stream=True, stream_options={"include_usage": True})

    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line[6:] for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"temperature": 3}, 400),
        ({"max_tokens": 0}, 400),
        ({"max_tokens": 1, "max_completion_tokens": 1}, 400),
        ({"n": 2}, 400),
        ({"tools": []}, 422),
        ({"messages": []}, 400),
        ({"messages": [{"role": "user", "content": "a" * 20_000}]}, 400),
        ({"stop": ["a"] * 17}, 400),
    ],
)
def test_what_cannot_be_done_is_refused(
    alone: Platform, changes: dict[str, Any], status: int
) -> None:
    model_id = alone.train()
    alone.export(model_id)
    assert alone.post(model_id, "activate").status_code == 200

    refused = alone.ask(PROJECT, **changes)

    assert refused.status_code == status
    assert refused.json()["detail"]["code"]


def test_a_model_card_tells_what_the_model_is(alone: Platform) -> None:
    model_id = alone.train()
    alone.export(model_id)
    assert alone.post(model_id, "activate").status_code == 200

    (card,) = alone.api.get(f"/artifacts?resourceId={model_id}").json()
    text = alone.api.get(f"/artifacts/{card['id']}/content").text

    assert card["mimeType"] == "text/markdown"
    assert text.startswith(f"# {PROJECT}-v1\n")
    for fact in (model_id, "forge-tiny", "abc", "llama.cpp", "tokens, as in training"):
        assert fact in text


def test_a_deleted_version_is_gone_from_the_server_too(
    platform: Platform, double: OllamaDouble
) -> None:
    first, second = platform.train(), platform.train()
    for model_id in (first, second):
        platform.export(model_id)
        assert platform.post(model_id, "deploy").status_code == 200
    assert platform.post(first, "activate").status_code == 200
    kept = {name for name in double.names if not name.endswith(":v2")}

    refused = platform.api.delete(f"/models/{first}")
    deleted = platform.api.delete(f"/models/{second}")

    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "model_is_active")
    assert deleted.json() == {"message": "Deleted"}
    assert set(double.names) == kept


def test_an_export_that_a_model_is_served_from_is_not_deleted(platform: Platform) -> None:
    model_id = platform.train()
    deployed = platform.export(model_id)
    assert platform.post(model_id, "deploy").status_code == 200
    newer = platform.export(model_id, "q8_0")
    exports_of = f"/jobs/{platform.state.call_sync(models.get, model_id).job_id}/exports"

    refused = platform.api.delete(f"{exports_of}/{deployed}")
    gone = platform.api.delete(f"{exports_of}/{newer}")
    assert platform.api.delete(f"/models/{model_id}").status_code == 200
    unused = platform.api.delete(f"{exports_of}/{deployed}")

    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "export_in_use")
    assert refused.json()["detail"]["modelId"] == model_id
    assert (gone.status_code, unused.status_code) == (200, 200)
    assert platform.services.storage.names("exports") == []


def test_without_ollama_the_export_that_answers_is_not_deleted(alone: Platform) -> None:
    model_id = alone.train()
    older, newest = alone.export(model_id), alone.export(model_id, "q8_0")
    exports_of = f"/jobs/{alone.state.call_sync(models.get, model_id).job_id}/exports"
    assert alone.post(model_id, "activate").status_code == 200

    answers = [alone.api.delete(f"{exports_of}/{one}").status_code for one in (newest, older)]

    assert answers == [409, 200]
    assert alone.ask(PROJECT).status_code == 200


def test_a_file_that_was_damaged_answers_nobody(alone: Platform) -> None:
    """Neither to be activated, nor once it is active: a flipped bit would go unseen."""
    model_id = alone.train()
    export_id = alone.export(model_id)
    storage, path = alone.services.storage, f"{export_dir(export_id)}/model.gguf"
    sound = storage.read_bytes(path)
    middle = len(sound) // 2
    damaged = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]

    storage.write_bytes(path, damaged)
    refused = alone.post(model_id, "activate")
    storage.write_bytes(path, sound)
    assert alone.post(model_id, "activate").status_code == 200
    storage.write_bytes(path, damaged)
    unanswered = alone.ask(PROJECT)

    job_id = alone.state.call_sync(models.get, model_id).job_id
    for answer in (refused, unanswered):
        assert (answer.status_code, answer.json()["detail"]["code"]) == (500, "export_damaged")
        assert f"aiforge export create {job_id} --quantization f16" in answer.json()["message"]
    # What is said there works, though the model is served from the damaged file.
    made = alone.api.post(f"/jobs/{job_id}/export?wait=0", json={"quantization": "f16"}).json()
    assert made["exportId"] != export_id
    meanwhile = alone.ask(PROJECT)
    assert (meanwhile.status_code, meanwhile.json()["detail"]["code"]) == (503, "export_under_way")
    alone.finish_export(alone.waiting_export().id, made["exportId"])
    assert alone.ask(PROJECT).status_code == 200
    assert storage.names("exports") == [made["exportId"]]


def test_a_model_whose_file_is_gone_is_exported_again_and_goes_on(
    platform: Platform, double: OllamaDouble
) -> None:
    model_id = platform.train()
    export_id = platform.export(model_id)
    platform.services.storage.delete(export_dir(export_id))

    refused = platform.post(model_id, "deploy")

    job_id = platform.state.call_sync(models.get, model_id).job_id
    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "file_not_found")
    assert f"aiforge export create {job_id} --quantization f16" in refused.json()["message"]
    again = platform.export(model_id, lost=export_id)
    assert again != export_id
    assert platform.post(model_id, "deploy").status_code == 200


def test_an_activation_survives_the_death_of_its_driver(
    platform: Platform, double: OllamaDouble
) -> None:
    """A second attempt repeats what the first may have done, and only it is recorded."""
    model_id = platform.train()
    platform.export(model_id)
    assert platform.post(model_id, "deploy").status_code == 200
    platform.worker.paused.set()
    run = platform.state.call_sync(deployments.activate, model_id, "me", None, NONE)
    platform.state.call_sync(runs.start, run.id)
    one = next(iter(double.names))
    # The first attempt copied, and died before it reported.
    double.names[one.replace(":v1", ":latest")] = double.names[one]
    recovered = platform.state.call_sync(outcomes.recover, run.id, 1, "its driver died")

    driver = Driver(
        platform.services.settings, run.id, recovered.attempt, state=platform.services.state
    )
    assert driver.join(60)

    assert platform.status(model_id) == ModelStatus.ACTIVE
    actions = [entry.action for entry in platform.state.call_sync(models.history, model_id)]
    assert actions == ["registered", "deployed", "activated"]


def test_the_python_client_goes_the_same_way(platform: Platform) -> None:
    model_id = platform.train()
    platform.export(model_id)
    url = next(address := serve_api(platform.api.app))  # type: ignore[attr-defined]

    with AIForge(url, retry=RetryPolicy(attempts=1)) as forge:
        model = forge.models.deploy(model_id, reason="try")
        model = model.activate()
        text = "".join(
            chunk.choices[0].delta.content or ""
            for chunk in forge.chat.stream(PROJECT, "Hello?", max_tokens=8, temperature=0)
        )
        answer = forge.chat.complete(PROJECT, "Hello?", max_tokens=8, temperature=0)

        assert model.status is ModelStatus.ACTIVE
        assert answer.choices[0].message.content == text
        assert forge.models.active(PROJECT).id == model_id
        assert forge.models.lineage(model_id).job.id == model.job_id
        assert [change.action for change in model.history()][-1] == "activated"
        assert [one.id for one in forge.chat.models().data] == [PROJECT]
    next(address, None)


def export_and_deploy(platform: Platform, model_id: str, wait: int = 60) -> httpx.Response:
    job_id = platform.state.call_sync(models.get, model_id).job_id
    body = {"quantization": "q8_0", "deployToOllama": True}
    return platform.api.post(f"/jobs/{job_id}/export?wait={wait}", json=body)


def test_one_request_exports_and_deploys_that_very_export(
    platform: Platform, double: OllamaDouble
) -> None:
    model_id = platform.train()
    platform.export(model_id)
    running = export_and_deploy(platform, model_id, wait=0).json()
    assert (running["status"], running["stage"]) == ("running", "deploying")

    platform.finish_export(platform.waiting_export().id, running["exportId"])
    wait_for(lambda: platform.state.call_sync(models.get, model_id).deployed_at)

    done = export_and_deploy(platform, model_id).json()
    assert (done["status"], done["exportId"]) == ("completed", running["exportId"])
    assert done["ollamaName"] in double.names
    changes = platform.state.call_sync(models.history, model_id)
    deployed = [change.run_id for change in changes if change.action == "deployed"]
    results = [platform.state.call_sync(runs.get, run_id or "").result for run_id in deployed]
    assert {result["facts"]["file"]["exportId"] for result in results} == {running["exportId"]}


def test_without_ollama_the_export_completes_and_stays(alone: Platform) -> None:
    model_id = alone.train()
    job_id = alone.state.call_sync(models.get, model_id).job_id
    refused = export_and_deploy(alone, model_id, wait=0)
    export_id = refused.json()["detail"]["exportId"]
    alone.finish_export(alone.waiting_export().id, export_id)

    refused = export_and_deploy(alone, model_id)

    assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "ollama_unreachable")
    assert refused.json()["detail"]["exportId"] == export_id
    assert int(refused.headers["retry-after"]) > 0
    kept = alone.api.get(f"/jobs/{job_id}/exports/{export_id}").json()
    assert kept["status"] == "completed"
    assert alone.api.get(f"/jobs/{job_id}/exports/{export_id}/file").status_code == 200


def test_an_export_can_deploy_and_the_first_model_becomes_active(
    platform: Platform, double: OllamaDouble
) -> None:
    first, second = platform.train(), platform.train()
    jobs_of = {one: platform.api.get(f"/models/{one}").json()["jobId"] for one in (first, second)}
    body = {"quantization": "f16", "deployToOllama": True}

    platform.export(first)
    done = platform.api.post(f"/jobs/{jobs_of[first]}/export", json=body)
    begun = platform.api.post(f"/jobs/{jobs_of[second]}/export?wait=0", json=body)
    waiting = platform.waiting_export()
    platform.finish_export(waiting.id, waiting.resource_id)
    again = platform.api.post(f"/jobs/{jobs_of[second]}/export", json=body)

    assert (done.status_code, done.json()["status"]) == (200, "completed")
    assert done.json()["ollamaName"].endswith(":latest")
    assert (begun.json()["status"], begun.json()["ollamaName"][-3:]) == ("running", ":v2")
    # What was begun is under way, or done by now; the active model is the first in any case.
    assert again.status_code in (200, 409)
    assert platform.api.get("/models/active").json()["id"] == first
    wait_for(lambda: double.names.get(begun.json()["ollamaName"]))


def test_one_question_is_answered_by_the_base_model_too(alone: Platform) -> None:
    model_id = alone.train()
    alone.export(model_id)
    dataset_id = alone.api.get(f"/models/{model_id}").json()["datasetId"]
    preview = [{"instruction": "What does `add` do?", "input": "def add(): ...", "output": "."}]
    alone.services.storage.write_json(f"{dataset_dir(dataset_id)}/preview.json", preview)

    assert alone.post(model_id, "activate").status_code == 200

    sample = alone.api.get(f"/models/{model_id}/history").json()[-1]["detail"]["sample"]
    assert sample["question"] == "What does `add` do?"
    # The file holds the base model, so both say the same.
    assert sample["base"] == sample["tuned"] != ""
