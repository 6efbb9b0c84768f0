"""The whole road from a repository to a model that answers, as a newcomer walks it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from harness import Platform, aiforge, free_port
from prose import NOUNS, module

from aiforge.client import AIForge
from aiforge.runtime import cluster

RECIPE = """
project_name: small
source: {type: git, url: .}
dataset:
  max_examples: 60
  raft: {chunk_tokens: 120, context_tokens: 512, distractors: 1, validation_fraction: 0.25}
train:
  base_model: forge-tiny
  epochs: 1
  learning_rate: 0.001
  rank: 8
  batch_size: 2
  gradient_accumulation: 1
  num_workers: 2
  zero_stage: 1
"""


@pytest.fixture
def repository(make_repository: Callable[[Mapping[str, str | bytes]], Path]) -> Path:
    files = {f"pkg/{name}.py": module(name, functions=5) for name in NOUNS}
    files["README.md"] = "# Small\n\n## Use\n\nCall `count_apples` with a list of apples.\n"
    return make_repository(files)


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_demo_goes_from_repository_to_answering_model_and_reuses_it(
    platform: Platform, repository: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    command = ("demo", "--recipe", str(recipe), "--source", f"{repository}", "--json")

    first = platform.run(*command)
    begun = time.monotonic()
    second = platform.run(*command)
    seconds = time.monotonic() - begun

    assert first.returncode == 0, first.stderr
    story = json.loads(first.stdout)
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
    assert second.returncode == 0, second.stderr
    again = json.loads(second.stdout)
    assert (again["jobId"], again["modelId"]) == (story["jobId"], story["modelId"])
    assert again["answer"] == story["answer"]
    assert seconds < sum(story["seconds"].values())


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
        for process in cluster.processes_of(info.id)
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
