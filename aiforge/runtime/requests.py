"""Counts the requests of a replica, beside them rather than in their way."""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections import deque

from ray.util.metrics import Counter, Histogram

from aiforge.runtime.catalog import LATENCY_BOUNDARIES

FLUSH_SECONDS = 2.0

KEPT = 100_000
"""Requests that may wait to be counted; beyond that the oldest are not."""


class RequestMetrics:
    """Gives what ``Measured`` notes to Ray's exporter every other second.

    Noting a request is one append; telling Ray costs tens of microseconds.
    """

    def __init__(self) -> None:
        self._noted: deque[tuple[str, str, str, float | None]] = deque(maxlen=KEPT)
        self._requests = Counter(
            "aiforge_requests", "Requests.", tag_keys=("route", "method", "status")
        )
        self._seconds = Histogram(
            "aiforge_request_seconds",
            "Seconds of a request.",
            boundaries=LATENCY_BOUNDARIES,
            tag_keys=("route", "method"),
        )
        threading.Thread(target=self._run, name="request-metrics", daemon=True).start()

    def record(self, route: str, method: str, status: str, seconds: float | None) -> None:
        """Note a request."""
        self._noted.append((route, method, status, seconds))

    def flush(self) -> None:
        """Count what was noted since the last time."""
        tally: Tally[tuple[str, str, str]] = Tally()
        for _ in range(len(self._noted)):
            route, method, status, seconds = self._noted.popleft()
            tally[route, method, status] += 1
            if seconds is not None:
                self._seconds.observe(seconds, {"route": route, "method": method})
        for (route, method, status), number in tally.items():
            self._requests.inc(number, {"route": route, "method": method, "status": status})

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()
