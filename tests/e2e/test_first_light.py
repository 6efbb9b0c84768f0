"""The whole road from a repository to a model that answers, as a newcomer walks it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from harness import Demonstrated, Platform, aiforge, free_port

from aiforge import logs
from aiforge.client import AIForge
from aiforge.runtime import cluster


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_demo_goes_from_repository_to_answering_model_and_reuses_it(
    platform: Platform, demonstrated: Demonstrated
) -> None:
    story = demonstrated.story
    begun = time.monotonic()
    second = platform.run(*demonstrated.command)
    seconds = time.monotonic() - begun

    job = httpx.get(f"{platform.url}/jobs/{story['jobId']}").json()
    assert job["status"] == "completed"
    assert job["metrics"]["currentStep"] == job["metrics"]["totalSteps"] > 0
    assert Path(story["plot"]).read_bytes().startswith(b"\x89PNG")
    assert (Path(job["result"]["adapterPath"]) / "adapter_model.safetensors").exists()
    measured = httpx.get(f"{platform.url}/jobs/{story['jobId']}/validation").json()
    assert measured["metrics"]["perplexity"] < measured["baseline"]["perplexity"]
    model = httpx.get(f"{platform.url}/models/active").json()
    assert (model["id"], model["jobId"]) == (story["modelId"], story["jobId"])
    assert story["answer"]
    assert story["sample"]["question"]
    history = httpx.get(f"{platform.url}/jobs/{story['jobId']}/metrics").json()
    assert history["steps"] == list(range(1, job["metrics"]["totalSteps"] + 1))
    _one_request_from_api_to_workers(platform, story["jobId"])
    assert second.returncode == 0, second.stderr
    again = json.loads(second.stdout)
    assert (again["jobId"], again["modelId"]) == (story["jobId"], story["modelId"])
    assert again["answer"] == story["answer"]
    assert seconds < sum(story["seconds"].values())


FOREIGN = re.compile(
    r"pid=\d|warning|\binfo\b|\bray(::|\.|/)|traceback|site-packages|\{\"", re.IGNORECASE
)
"""What a line of Ray, of a library, or of a log looks like."""


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_a_terminal_shows_progress_and_no_line_of_ray(
    platform: Platform, demonstrated: Demonstrated
) -> None:
    for shown, promised in ((platform.shown, "Starting"), (demonstrated.shown, "Training")):
        lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
        assert promised in shown
        assert [line for line in lines if FOREIGN.search(line)] == []


def _one_request_from_api_to_workers(platform: Platform, job_id: str) -> None:
    lines = [json.loads(line) for line in (platform.home / logs.FILE).open()]
    about = [line for line in lines if line.get("run") == job_id]
    (request,) = {line["request"] for line in about}
    workers = {line["rank"] for line in about if line["component"] == "train"}
    components = {line["component"] for line in lines if line.get("request") == request}
    audited = httpx.get(f"{platform.url}/audit", params={"requestId": request}).json()
    assert workers == {0, 1}
    assert components == {"api", "dispatcher", "driver", "train"}
    assert [entry["action"] for entry in audited] == ["POST /v1/fine-tune"]


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_llama_cpp_answers_in_a_replica_of_its_own(
    platform: Platform, demonstrated: Demonstrated
) -> None:
    """Answers, refusals and clients that leave pass from one replica to the other and back."""
    asked = {"model": demonstrated.story["modelId"], "seed": 1}

    def body(text: str, most: int, **more: Any) -> dict[str, Any]:
        return asked | {"messages": [{"role": "user", "content": text}], "max_tokens": most} | more

    with httpx.Client(base_url=platform.url, timeout=180) as api:
        path = "/v1/chat/completions"
        answer = api.post(path, json=body("Hello?", 8, temperature=0))
        refused = api.post(path, json=body("Hello? " * 9000, 8))
        with api.stream("POST", path, json=body("Hello?", 400, stream=True)) as left:
            assert next(left.iter_lines()).startswith("data: ")
        again = api.post(path, json=body("Hello?", 8, temperature=0))

    assert answer.status_code == 200, answer.text
    assert 0 < answer.json()["usage"]["completion_tokens"] <= 8
    assert (refused.status_code, refused.json()["detail"]["code"]) == (400, "prompt_too_long")
    # Whoever left keeps nobody waiting for the rest of the answer.
    assert again.json()["choices"] == answer.json()["choices"]


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_an_export_is_cancelled_and_leaves_nothing(
    platform: Platform, demonstrated: Demonstrated
) -> None:
    job_id = demonstrated.story["jobId"]
    storage = platform.home / "storage"
    with httpx.Client(base_url=platform.url, timeout=60) as api:
        begun = api.post(f"/jobs/{job_id}/export?wait=0", json={"quantization": "q2_k"}).json()
        path = f"/jobs/{job_id}/exports/{begun['exportId']}"

        def until(wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            deadline = time.monotonic() + 120
            while not wanted(found := api.get(path).json()):
                assert time.monotonic() < deadline, found
                time.sleep(0.05)
            return found

        until(lambda export: export["stage"] is not None)
        done = api.post(f"{path}/cancel")
        ended = until(lambda export: export["status"] != "running")

    assert done.status_code == 200, done.text
    assert (ended["status"], ended["errorCode"]) == ("failed", "cancelled")
    assert not (storage / "exports" / begun["exportId"]).exists()
    # The dispatcher clears up once it has seen the driver's end.
    deadline = time.monotonic() + 30
    while left := list((storage / "work").iterdir()):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.cluster
def test_state_killed_in_the_middle_has_lost_nothing(platform: Platform) -> None:
    with AIForge(platform.url) as forge:
        before = [source.id for source in forge.sources.list(limit=500)]
        victim = _process_of(platform, "ray::StateActor")

        victim.kill()
        victim.wait(10)

        after = [source.id for source in forge.sources.list(limit=500)]
        assert after == before
        # Reads never needed the writer; it is back a moment later.
        deadline = time.monotonic() + 60
        while not forge.system.health().checks.database:
            assert time.monotonic() < deadline, "the writer did not come back"
            time.sleep(0.1)
    assert _process_of(platform, "ray::StateActor").pid != victim.pid


@pytest.mark.cluster
def test_the_platforms_processes_find_their_own_cluster_beside_others(platform: Platform) -> None:
    info = cluster.running(platform.settings)
    assert info is not None
    for title in ("ray::StateActor", "ray::DispatcherActor"):
        environment = _process_of(platform, title).environ()
        assert environment["RAY_API_SERVER_ADDRESS"] == info.dashboard


def _process_of(platform: Platform, title: str) -> psutil.Process:
    info = cluster.running(platform.settings)
    assert info is not None
    return next(
        process
        for process in cluster.processes_of(info.id, info.pid)
        if " ".join(process.cmdline()).startswith(title)
    )


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("https://127.0.0.1/none.git", "not public"),
        ("--upload-pack=/bin/true", "--upload-pack"),
        ("/etc", "AIFORGE_SOURCE_ROOTS"),
    ],
)
def test_demo_of_what_is_no_repository_says_so_in_one_line(
    platform: Platform, source: str, remedy: str
) -> None:
    before = httpx.get(f"{platform.url}/data-sources").json()

    done = platform.run("demo", f"--source={source}")

    assert done.returncode == 1
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert remedy in error
    assert httpx.get(f"{platform.url}/data-sources").json() == before


@pytest.mark.cluster
def test_port_in_use_is_refused_before_anything_starts(platform: Platform, tmp_path: Path) -> None:
    home = tmp_path / "other"

    done = aiforge("up", "--detach", home=home, port=platform.port)

    assert done.returncode == 1
    assert f"Port {platform.port}" in done.stderr
    assert "--port" in done.stderr
    assert cluster.read_info(platform.settings.model_copy(update={"home": home})) is None


@pytest.mark.cluster
def test_second_start_from_the_same_home_is_refused(platform: Platform) -> None:
    done = platform.run("up", "--detach", "--port", str(free_port()))

    assert done.returncode == 1
    assert "already running" in done.stderr
