"""What a running platform counts reaches Prometheus, by Ray and by the platform's own endpoint."""

from __future__ import annotations

import json
import shutil
import time

import httpx
import pytest
from harness import Platform, free_port

from aiforge.runtime import prometheus
from aiforge.runtime.catalog import CATALOG
from aiforge.runtime.dashboards import PLATFORM


@pytest.mark.cluster
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
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
