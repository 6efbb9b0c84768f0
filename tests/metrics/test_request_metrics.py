"""Requests are counted beside them: noting one costs next to nothing, and none is counted twice."""

from __future__ import annotations

from typing import Any

import pytest

from aiforge.runtime.requests import RequestMetrics


def test_what_was_noted_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = RequestMetrics()
    counted: list[tuple[float, dict[str, str]]] = []
    observed: list[tuple[float, dict[str, str]]] = []

    def inc(number: float, tags: dict[str, str]) -> None:
        counted.append((number, tags))

    def observe(seconds: float, tags: dict[str, str]) -> None:
        observed.append((seconds, tags))

    monkeypatch.setattr(metrics._requests, "inc", inc)
    monkeypatch.setattr(metrics._seconds, "observe", observe)
    for seconds in (0.1, 0.2, None):
        metrics.record("/jobs", "GET", "2xx", seconds)
    metrics.flush()
    metrics.flush()

    tags: dict[str, Any] = {"route": "/jobs", "method": "GET"}
    assert sum(number for number, _ in counted) == 3
    assert all(given == tags | {"status": "2xx"} for _, given in counted)
    assert observed == [(0.1, tags), (0.2, tags)]


def test_ray_takes_what_is_told() -> None:
    metrics = RequestMetrics()
    metrics.record("/jobs", "GET", "2xx", 0.1)
    metrics.record("/events", "GET", "2xx", None)

    metrics.flush()
