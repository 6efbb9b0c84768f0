"""What a running platform counts reaches Prometheus, by Ray and by the platform's own endpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from harness import Demonstrated, Platform, free_port

from aiforge.client import AIForge
from aiforge.runtime import prometheus
from aiforge.runtime.catalog import CATALOG
from aiforge.runtime.dashboards import DATASETS, PLATFORM, TRAINING, Panel

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


@pytest.mark.cluster
@needs_prometheus
def test_requests_of_a_running_platform_reach_prometheus_and_the_terminal(
    platform: Platform,
) -> None:
    up = platform.run("metrics", "up", "--prometheus-port", str(free_port()), "--json")
    assert up.returncode == 0, up.stderr
    url = json.loads(up.stdout)["url"]
    try:
        deadline = time.monotonic() + 120
        while not all(prometheus.query(url, panel.query) for panel in PLATFORM.panels[:4]):
            assert time.monotonic() < deadline, "the requests did not arrive"
            for path in ("/jobs", "/jobs/none"):
                httpx.get(f"{platform.url}{path}", timeout=30)
            time.sleep(0.5)
        requests = prometheus.query(url, "sum by (route, status) (ray_aiforge_requests_total)")
        counted = {(labels["route"], labels["status"]) for labels, _ in requests}
        shown = platform.run("metrics", "show", "platform")
        names = httpx.get(f"{url}/api/v1/label/__name__/values").json()["data"]
    finally:
        down = platform.run("metrics", "down")

    assert {("/jobs", "2xx"), ("/jobs/{job_id}", "4xx")} <= counted
    assert shown.returncode == 0, shown.stderr
    assert "/jobs/{job_id}" in shown.stdout
    by_ray = {metric.name for metric in CATALOG if metric.origin == "ray"}
    exported = {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for name in names
        if name.startswith("ray_aiforge_")
    }
    assert exported == by_ray
    assert down.returncode == 0


@contextmanager
def teacher() -> Iterator[str]:
    """URL of an endpoint that answers as a teacher would."""
    script = Path(__file__).parents[1] / "raft" / "teacher_server.py"
    process = subprocess.Popen(
        [sys.executable, str(script), "0.01"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    process.kill()
    process.wait()


@pytest.mark.cluster
@needs_prometheus
def test_a_real_training_and_a_taught_dataset_give_every_panel_its_data(
    platform: Platform, demonstrated: Demonstrated
) -> None:
    with AIForge(platform.url) as forge, teacher() as url:
        asked = {"url": url, "model": "m", "questions_per_chunk": 1, "max_requests": 3}
        prices = {"price_per_million_prompt_tokens": 1.0, "price_per_million_reply_tokens": 2.0}
        forge.datasets.generate(
            "taught",
            [demonstrated.story["sourceId"]],
            base_model="forge-tiny",
            max_examples=40,
            teacher={**asked, **prices},
        ).wait()
    up = platform.run("metrics", "up", "--prometheus-port", str(free_port()), "--json")
    assert up.returncode == 0, up.stderr
    try:
        prometheus_url = json.loads(up.stdout)["url"]
        wanted = [panel for panel in (*TRAINING.panels, *DATASETS.panels) if not panel.needs]
        empty = wait_for_data(prometheus_url, wanted)
        loss = prometheus.query(prometheus_url, TRAINING.panels[0].query)
    finally:
        platform.run("metrics", "down")

    assert empty == []
    job = httpx.get(f"{platform.url}/jobs/{demonstrated.story['jobId']}").json()
    assert loss[0][1] == pytest.approx(job["metrics"]["loss"])


def wait_for_data(url: str, panels: list[Panel], seconds: float = 90) -> list[str]:
    """The titles of the panels that have none after a while."""
    deadline = time.monotonic() + seconds
    while True:
        empty = [panel.title for panel in panels if not prometheus.query(url, panel.query)]
        if not empty or time.monotonic() > deadline:
            return empty
        time.sleep(0.5)
