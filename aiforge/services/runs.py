"""Runs of any kind."""

from __future__ import annotations

from aiforge.schemas.runs import Run
from aiforge.services.context import Services
from aiforge.state import outcomes, runs
from aiforge.state.store import RequestKey


async def get(services: Services, run_id: str) -> Run:
    """One run, or ``NotFound``."""
    return await services.state.call(runs.get, run_id)


async def cancel(services: Services, run_id: str, key: RequestKey | None = None) -> Run:
    """Cancel a run that waits or is under way; to do so twice is no error.

    Raises:
        NotFound: There is no such run.
        Conflict: It has completed or failed.
    """
    return await services.state.once(key).call(outcomes.cancel, run_id)
