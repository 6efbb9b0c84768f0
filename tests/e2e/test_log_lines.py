"""One id from a request to the processes that do its work, on a running platform."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import Platform

from aiforge import logs


def lines_of(platform: Platform, **fields: Any) -> list[dict[str, Any]]:
    """The log lines that carry these fields, each of them JSON."""
    lines = [json.loads(line) for line in (platform.home / logs.FILE).open()]
    return [line for line in lines if line.items() >= fields.items()]


@pytest.mark.cluster
def test_a_clients_id_is_found_in_every_process_that_served_it(
    platform: Platform, make_repository: Callable[[Mapping[str, str | bytes]], Path]
) -> None:
    name = {"X-Request-Id": "mine-1"}
    with httpx.Client(base_url=platform.url, timeout=60, headers=name) as api:
        created = api.post("/data-sources", json={"url": str(make_repository({"a.py": "x = 1\n"}))})
        assert created.status_code == 201, created.text
        run_id, source_id = created.json()["parsingJobId"], created.json()["sourceId"]
        deadline = time.monotonic() + 60
        while api.get(f"/data-sources/{source_id}").json()["status"] == "syncing":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while not any("is done" in line["message"] for line in lines_of(platform, run=run_id)):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert created.headers["x-request-id"] == "mine-1"
    about = lines_of(platform, run=run_id)
    assert {line["component"] for line in about} == {"dispatcher", "driver"}
    assert {line["request"] for line in about} == {"mine-1"}
    assert "api" in {line["component"] for line in lines_of(platform, request="mine-1")}


@pytest.mark.cluster
@pytest.mark.parametrize("hostile", ["a b", "x" * 101, '"}{"level":"error"', "../x"])
def test_an_id_that_could_harm_is_replaced(platform: Platform, hostile: str) -> None:
    answer = httpx.get(f"{platform.url}/jobs/job-none", headers={"X-Request-Id": hostile})

    kept = answer.json()["detail"]["requestId"]
    assert kept.startswith("req-")
    assert all(hostile not in line.values() for line in lines_of(platform))
