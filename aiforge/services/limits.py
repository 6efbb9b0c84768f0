"""How many requests a credential may send in a minute, counted in a sliding window."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from aiforge.errors import RateLimited
from aiforge.settings import Settings

WINDOW_SECONDS = 60


class Bucket(StrEnum):
    """What is counted together."""

    READS = "reads"
    WRITES = "writes"
    UPLOADS = "uploads"


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass, and what is left; ``reset`` is in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self, bucket: Bucket) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 writes them."""
        return {
            "ratelimit-policy": f'"{bucket}";q={self.limit};w={WINDOW_SECONDS}',
            "ratelimit": f'"{bucket}";r={self.remaining};t={self.reset}',
        }


class Limiter(Protocol):
    """Who counts; a seam, since one process counts alone and a cluster's replicas together."""

    async def hit(self, principal: str, bucket: Bucket) -> Verdict | None:
        """Count a request and judge it; ``None`` where nobody counts at the moment."""


def quotas(settings: Settings) -> dict[Bucket, int]:
    """Requests in a minute, for each bucket."""
    return {
        Bucket.READS: settings.rate_limit_reads,
        Bucket.WRITES: settings.rate_limit_writes,
        Bucket.UPLOADS: settings.rate_limit_uploads,
    }


class Window:
    """Counts the requests of the last minute; for whoever is the only one to count them.

    The window slides over the very moments of the last requests (a sliding log), so that no
    minute whatsoever sees more than the limit.
    """

    def __init__(self) -> None:
        self._strategy = MovingWindowRateLimiter(MemoryStorage())

    def judge(self, principal: str, bucket: Bucket, limit: int) -> Verdict:
        """Count a request unless there were too many, and judge it."""
        item = RateLimitItemPerMinute(limit)
        allowed = self._strategy.hit(item, bucket, principal)
        stats = self._strategy.get_window_stats(item, bucket, principal)
        reset = max(1, math.ceil(stats.reset_time - time.time()))
        return Verdict(allowed, limit, max(0, stats.remaining), reset)


class LocalLimiter:
    """Counts in this process: exact where it is the only one."""

    def __init__(self, quotas: Mapping[Bucket, int]) -> None:
        self._quotas = quotas
        self._window = Window()

    async def hit(self, principal: str, bucket: Bucket) -> Verdict | None:
        return self._window.judge(principal, bucket, self._quotas[bucket])


def refused(bucket: Bucket, verdict: Verdict) -> RateLimited:
    """The error that a verdict means."""
    return RateLimited(
        f"More than {verdict.limit} {bucket} in a minute; try again in {verdict.reset} s.",
        code="rate_limited",
        bucket=str(bucket),
        limit=verdict.limit,
        retryAfter=verdict.reset,
    )
