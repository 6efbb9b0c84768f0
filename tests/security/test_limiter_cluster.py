"""All replicas count together, and nobody's death takes the API down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from aiforge.services.limits import Bucket, Verdict
from aiforge.settings import Settings
from aiforge.wire import Line

pytestmark = pytest.mark.cluster

REPLICAS = 4


@pytest.fixture
def namespace(ray_cluster: None) -> Iterator[str]:
    import ray

    from aiforge.runtime import limiter

    name = f"limits-{uuid.uuid4().hex[:8]}"
    yield name
    with contextlib.suppress(ValueError):
        ray.kill(ray.get_actor(limiter.NAME, namespace=name))


def replica_of(settings: Settings) -> Any:
    """A process that counts requests, as a replica of the API does."""
    import ray

    class Replica:
        def __init__(self, settings: Settings) -> None:
            from aiforge.runtime.limiter import RayLimiter

            self._limiter = RayLimiter(settings)

        async def hit(self, number: int) -> list[bool | None]:
            found = await asyncio.gather(
                *(self._limiter.hit("p", Bucket.READS) for _ in range(number))
            )
            return [None if verdict is None else verdict.allowed for verdict in found]

    return ray.remote(Replica).options(num_cpus=0).remote(settings)


def test_a_replica_asks_the_limiter_over_the_wire(namespace: str) -> None:
    import ray

    from aiforge.runtime import limiter

    settings = Settings(namespace=namespace)

    class Replica:
        async def ask(self) -> Verdict:
            line = Line(limiter._address(settings))
            verdict: Verdict = await line.call(("p", Bucket.READS, 3))
            return verdict

    ray.get(limiter.start(settings).judge.remote("p", Bucket.READS, 3))
    replica = ray.remote(Replica).options(num_cpus=0).remote()
    assert ray.get(replica.ask.remote()).remaining == 1


def test_four_replicas_let_exactly_the_quota_pass_and_survive_the_limiter(namespace: str) -> None:
    import ray

    from aiforge.runtime import limiter

    settings = Settings(namespace=namespace, rate_limit_reads=100)
    limiter.start(settings)
    replicas = [replica_of(settings) for _ in range(REPLICAS)]
    ray.get([replica.hit.remote(0) for replica in replicas])

    waves = [[replica.hit.remote(n) for replica in replicas] for n in (10, 20, 8)]
    answers = ray.get([one for wave in waves for one in wave])
    verdicts = [verdict for answer in answers for verdict in answer]
    assert len(verdicts) == 152
    assert verdicts.count(True) == 100
    assert verdicts.count(False) == 52

    actor = ray.get_actor(limiter.NAME, namespace=namespace)
    process = ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (first := ray.get(replicas[0].hit.remote(1))[0]) is not True:
        # Nobody counts at the moment, which is told at once and raises nothing.
        assert first in (None, False)
        assert time.monotonic() < deadline, "the limiter does not come back"
    assert ray.get(ray.get_actor(limiter.NAME, namespace=namespace).judge.remote("q", "reads", 5))
