"""The one that counts requests for all replicas of the API: a named actor, and its client.

The actor keeps the last minute and nothing else, so that losing it costs one minute's counts. Ray
starts it anew by itself; until it answers, requests are treated as the operator chose.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from aiforge import logs, wire
from aiforge.services.limits import Bucket, Verdict, Window, quotas
from aiforge.settings import Settings
from aiforge.wire import Line, LineDownError

NAME = "limiter"

ANSWER_SECONDS = 0.5
PAUSE_SECONDS = 0.5
"""How long nobody is asked after the actor did not answer, so that requests don't wait in turn."""

MOST_REFUSED = 10_000

_log = logging.getLogger(__name__)


class LimiterActor:
    """Counts in one process, one request after another."""

    def __init__(self, settings: Settings) -> None:
        logs.install(settings, "limiter")
        self._window = Window()
        self._one = threading.Lock()
        with suppress(OSError):
            wire.listen(_address(settings), lambda asked: self._judge(*asked))

    async def judge(self, principal: str, bucket: Bucket, limit: int) -> Verdict:
        """Count a request unless there were too many, and judge it."""
        return self._judge(principal, bucket, limit)

    def _judge(self, principal: str, bucket: Bucket, limit: int) -> Verdict:
        with self._one:
            return self._window.judge(principal, bucket, limit)


class RayLimiter:
    """Counts together with all other replicas, exactly."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._quotas = quotas(settings)
        self._handle: Any = None
        self._line: Line | None = None
        with suppress(OSError):
            self._line = Line(_address(settings))
        self._resume = 0.0
        self._refused: dict[tuple[str, Bucket], float] = {}

    async def hit(self, principal: str, bucket: Bucket) -> Verdict | None:
        if refusal := self._still_refused(principal, bucket):
            return refusal
        if time.monotonic() < self._resume:
            return None
        verdict = await self._ask(principal, bucket)
        if verdict is not None and not verdict.allowed:
            if len(self._refused) >= MOST_REFUSED:
                self._refused.clear()
            self._refused[principal, bucket] = time.monotonic() + verdict.reset
        return verdict

    def _still_refused(self, principal: str, bucket: Bucket) -> Verdict | None:
        """A refusal that still holds for sure, so that a flood costs the actor nothing."""
        until = self._refused.get((principal, bucket))
        if until is None:
            return None
        left = until - time.monotonic()
        # It was rounded up to a whole second.
        if left <= 1:
            del self._refused[principal, bucket]
            return None
        return Verdict(False, self._quotas[bucket], 0, math.ceil(left))

    async def _ask(self, principal: str, bucket: Bucket) -> Verdict | None:
        try:
            if self._handle is None:
                self._handle = await asyncio.to_thread(start, self._settings)
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._verdict(principal, bucket, self._quotas[bucket])
        except (RayError, TimeoutError, ValueError) as error:
            _log.warning("Requests are not counted for the moment: %r", error)
            self._handle = None
            self._resume = time.monotonic() + PAUSE_SECONDS
            return None

    async def _verdict(self, *asked: Any) -> Verdict:
        """Over the wire where the actor is on this machine, through Ray otherwise."""
        verdict: Verdict
        if self._line is not None:
            try:
                verdict = await self._line.call(asked)
            except LineDownError:
                pass
            else:
                return verdict
        verdict = await self._handle.judge.remote(*asked)
        return verdict


def _address(settings: Settings) -> Path:
    return wire.address("limiter", str(settings.home), settings.namespace)


def start(settings: Settings) -> Any:
    """Start the actor on the head node, or find the one that is there."""
    namespace = settings.namespace
    try:
        return ray.get_actor(NAME, namespace=namespace)
    except ValueError:
        actor = ray.remote(LimiterActor).options(
            name=NAME,
            namespace=namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={"node:__internal_head__": 0.001},
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=10_000,
        )
        return actor.remote(settings)
