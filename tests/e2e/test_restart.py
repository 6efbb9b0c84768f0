"""A running platform is restarted process by process, and no client notices."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import psutil
import pytest
from harness import Platform

from aiforge.runtime import cluster

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

TITLES = ("ray::StateActor", "ray::DispatcherActor", "ray::ServeReplica:aiforge:Api")


def processes(platform: Platform) -> dict[str, set[int]]:
    """Ids of the platform's lasting processes by the beginning of their titles."""
    info = cluster.running(platform.settings)
    assert info is not None
    found: dict[str, set[int]] = {title: set() for title in TITLES}
    for process in cluster.processes_of(info.id, info.pid):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        for beginning in TITLES:
            if title.startswith(beginning):
                found[beginning].add(process.pid)
    return found


@pytest.mark.slow
@pytest.mark.cluster
def test_a_restart_under_load_loses_no_request(platform: Platform) -> None:
    from operations import roll

    before = processes(platform)

    load, _ = roll(platform.settings)

    after = processes(platform)
    assert load.errors == {}, dict(load.answers)
    for title in TITLES:
        assert len(before[title]) == len(after[title]) == 1, title
        assert not before[title] & after[title], f"{title} is still the old one"
    keys = {key["id"] for key in _every_key(platform)}
    assert set(load.made) <= keys
    assert load.events == list(range(load.events[0], load.events[-1] + 1))
    assert len(load.events) >= len(load.made) > 0


def _every_key(platform: Platform) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    while True:
        more = {"limit": 500, "offset": len(found)}
        page = httpx.get(f"{platform.url}/keys", params=more, timeout=30).json()
        found += page
        if len(page) < 500:
            return found
