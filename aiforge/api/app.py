"""The API as a Ray Serve application."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from aiforge import redaction
from aiforge.api.factory import create_app
from aiforge.errors import Unavailable
from aiforge.runtime.limiter import RayLimiter
from aiforge.services import startup
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state import actor
from aiforge.state.reader import Reader, ReadingState
from aiforge.storage import Storage
from aiforge.training.plan import Probe, TrainPlan

MAX_ONGOING_REQUESTS = 1000
"""Per replica. Requests mostly wait for the state, and an event stream lasts for long."""


class Api:
    """One replica: the REST API over the cluster's state."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = Settings.model_validate(settings)
        redaction.install()
        redaction.learn(self._settings.secrets)
        self._services: Services | None = None

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve once the replica exists."""
        self._services = await asyncio.to_thread(self._open)
        app = create_app(self._services, name_answers=False)
        app.openapi()
        return app

    def _open(self) -> Services:
        startup.require_safe(self._settings)
        reader = Reader(self._settings.resolved_database_url)
        state = ReadingState(actor.connect(self._settings), reader)
        storage = Storage(self._settings.resolved_storage_uri)
        limiter = None if self._settings.env == "development" else RayLimiter(self._settings)
        return Services(
            state, storage, self._settings, ray.cluster_resources, probe=_probe, limiter=limiter
        )

    async def check_health(self) -> None:
        """Called by Serve; what it raises has the replica replaced.

        A state that is away is not the replica's illness: another replica would not see it either.
        """
        if self._services is None:
            raise Unavailable("The replica has not been initialised.")


def _placement(settings: Settings) -> dict[str, Any]:
    """A replica reads the database by itself, so it lives where a SQLite file is."""
    options: dict[str, Any] = {"num_cpus": 0}
    if settings.resolved_database_url.startswith("sqlite"):
        options["resources"] = {"node:__internal_head__": 0.001}
    return options


async def _probe(plan: TrainPlan) -> Probe:
    # A replica that is never asked for a plan does without what the probe imports.
    from aiforge.training.ray_prepare import probe_on_cluster

    return await probe_on_cluster(plan)


def build(settings: Settings | dict[str, Any] | None = None) -> Application:
    """The application, for ``serve.run`` and ``serve run aiforge.api.app:build``.

    Args:
        settings: Fields of ``Settings``; those of the environment when absent.
    """
    given = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
    deployment = serve.deployment(
        serve.ingress()(Api),
        name="Api",
        num_replicas=given.api_replicas,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        ray_actor_options=_placement(given),
        graceful_shutdown_timeout_s=5,
    )
    return deployment.bind(given.model_dump())
