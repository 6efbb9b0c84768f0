"""Health and resources of the platform."""

from __future__ import annotations

import asyncio
import time

from aiforge import __version__
from aiforge.schemas.common import utc_now
from aiforge.schemas.health import Health, HealthChecks, SystemStatus
from aiforge.schemas.runs import RunStatus
from aiforge.services.context import Services
from aiforge.state import jobs


async def health(services: Services) -> Health:
    """Whether the platform works: without its state not at all, without disk not for long.

    A missing GPU or Ollama is a fact about the machine, not an illness.
    """
    database, ollama, gpu = await asyncio.gather(
        services.probes.state(), services.probes.ollama(), _has_gpu(services)
    )
    return Health(
        status="unhealthy" if not database else "healthy" if _has_disk(services) else "degraded",
        timestamp=utc_now(),
        checks=HealthChecks(database=database, ollama=ollama.status == "running", gpu=gpu),
    )


async def status(services: Services) -> SystemStatus:
    """What the platform occupies and does."""
    database, ollama, gpus = await asyncio.gather(
        services.probes.state(), services.probes.ollama(), services.probes.gpus()
    )
    running = queued = 0
    if database:
        running, queued = await asyncio.gather(
            services.state.call(jobs.number, RunStatus.RUNNING, RunStatus.CANCELLING),
            services.state.call(jobs.number, RunStatus.QUEUED),
        )
    return SystemStatus(
        healthy=database,
        version=__version__,
        uptime=round(time.monotonic() - services.started_at, 1),
        cpu=services.probes.cpu(),
        memory=services.probes.memory(),
        gpu=gpus[0] if gpus else None,
        gpus=gpus,
        ollama=ollama,
        running_jobs=running,
        queued_jobs=queued,
    )


async def _has_gpu(services: Services) -> bool:
    return services.gpus > 0 or bool(await services.probes.gpus())


def _has_disk(services: Services) -> bool:
    free = services.storage.free_bytes()
    return free is None or free >= services.settings.disk_reserve_bytes
