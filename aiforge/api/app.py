"""The API as a Ray Serve application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from aiforge import logs
from aiforge.api.factory import create_app
from aiforge.errors import AIForgeError, Unavailable
from aiforge.runtime.limiter import RayLimiter
from aiforge.runtime.replicas import close_inner_door
from aiforge.runtime.requests import RequestMetrics
from aiforge.schemas.exports import Export
from aiforge.services import startup
from aiforge.services.context import Services
from aiforge.services.engines import LlamaHere
from aiforge.serving.chat import ChatOptions, ChatPiece, Message
from aiforge.settings import Settings
from aiforge.state import actor, ray_settings
from aiforge.state.reader import Reader, ReadingState
from aiforge.storage import Storage
from aiforge.training.plan import Probe, TrainPlan

MAX_ONGOING_REQUESTS = 1000
"""Per replica. Requests mostly wait for the state, and an event stream lasts for long."""


MAX_ONGOING_CHATS = 64
"""More than a replica lets wait: it refuses by itself, with a reason."""

IDLE_SECONDS = 600.0
"""How long llama.cpp keeps a process and its memory after the last answer."""

Item = ChatPiece | AIForgeError
"""What crosses between replicas: errors as values, which keep their class, code and detail."""


class Llama:
    """The replica that answers by llama.cpp where there is no Ollama; it exists when needed."""

    def __init__(self, settings: dict[str, Any]) -> None:
        close_inner_door()
        parsed = Settings.model_validate(settings)
        self._here = LlamaHere(Storage(parsed.resolved_storage_uri), parsed)

    async def chat(
        self, export: Export, messages: Sequence[Message], options: ChatOptions
    ) -> AsyncIterator[Item]:
        """The answer of an exported model as it is made; an error is the last item."""
        try:
            async for piece in self._here(export, messages, options):
                yield piece
        except AIForgeError as error:
            yield error


class LlamaThere:
    """Asks the replica that answers by llama.cpp; Serve starts it at the first question."""

    def __init__(self, handle: DeploymentHandle) -> None:
        # By reference: as a call of an actor, for which Ray asks for its token. The other way is
        # the port that ``close_inner_door`` closes.
        self._handle = handle.options(stream=True, _by_reference=True)

    async def __call__(
        self, export: Export, messages: Sequence[Message], options: ChatOptions
    ) -> AsyncIterator[ChatPiece]:
        """The answer of an exported model as it is made.

        Raises:
            AIForgeError: What the replica raises, as the same class.
            Unavailable: It died, or cannot be started (``chat_interrupted``).
        """
        items = self._handle.chat.remote(export, messages, options)
        try:
            async for item in items:
                if isinstance(item, AIForgeError):
                    raise item
                yield item
        except (RayError, RayServeException) as error:
            raise Unavailable(
                "The process that generates went away; it is started again, try again soon.",
                code="chat_interrupted",
                retryAfter=5,
            ) from error
        finally:
            items.cancel()


class Api:
    """One replica: the REST API over the cluster's state.

    Args:
        llama: Handle on the deployment that answers by llama.cpp.
    """

    def __init__(self, settings: dict[str, Any], llama: DeploymentHandle) -> None:
        close_inner_door()
        self._settings = Settings.model_validate(settings)
        logs.install(self._settings, "api")
        self._services: Services | None = None
        self._answers_here = LlamaThere(llama)

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve once the replica exists."""
        self._services = await asyncio.to_thread(self._open)
        app = create_app(self._services, name_answers=False, record=RequestMetrics().record)
        app.openapi()
        return app

    def _open(self) -> Services:
        startup.require_safe(self._settings)
        reader = Reader(self._settings.resolved_database_url)
        state = ReadingState(actor.connect(self._settings, short_cut=True), reader)
        storage = Storage(self._settings.resolved_storage_uri)
        limiter = None if self._settings.env == "development" else RayLimiter(self._settings)
        return Services(
            state,
            storage,
            self._settings,
            cluster_resources=ray.cluster_resources,
            limiter=limiter,
            probe=_probe,
            answers_here=self._answers_here,
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
        # At a restart a new replica answers before the old one stops, be it the only one.
        max_surge_percent=100,
        graceful_shutdown_timeout_s=5,
    )
    llama = serve.deployment(
        Llama,
        name="Llama",
        max_ongoing_requests=MAX_ONGOING_CHATS,
        ray_actor_options={"num_cpus": 0},
        autoscaling_config={
            "min_replicas": 0,
            "initial_replicas": 0,
            "max_replicas": 1,
            "target_ongoing_requests": MAX_ONGOING_CHATS,
            "upscale_delay_s": 0.0,
            "downscale_delay_s": IDLE_SECONDS,
        },
        graceful_shutdown_timeout_s=5,
    )
    return deployment.bind(given.model_dump(), llama.bind(given.model_dump()))


def deploy(arguments: dict[str, Any]) -> Application:
    """The platform where Serve is told by a configuration file, as KubeRay's ``RayService`` does:
    ``import_path: aiforge.api.app:deploy``. Starts what ``aiforge up`` starts beside the API.

    Args:
        arguments: Fields of ``Settings``; those of the environment where absent.
    """
    from aiforge.runtime import dispatcher, limiter

    settings = Settings(**arguments)
    startup.require_safe(settings)
    ray_settings.publish(settings)
    actor.start(settings)
    dispatcher.start(settings)
    if settings.env != "development":
        limiter.start(settings)
    return build(settings)
