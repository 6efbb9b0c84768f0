"""The platform itself."""

from __future__ import annotations

from aiforge.client._flow import Call, Flow
from aiforge.client._flows.common import decode, fetch
from aiforge.client._retry import error_of, once
from aiforge.schemas.health import Health, SystemStatus


def health() -> Flow[Health]:
    """Whether the platform is well; ``unhealthy`` is an answer too, and not retried."""
    response = yield from once(Call("GET", "/health"))
    if response.is_error and "checks" not in response.text:
        raise error_of(response)
    return decode(Health, response)


def status() -> Flow[SystemStatus]:
    """Version, resources and running jobs."""
    return fetch(SystemStatus, "/status")
