"""The application, without Ray: it runs and is tested in one plain process."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from aiforge import __version__
from aiforge.api import errors, openapi
from aiforge.api.guard import Guard
from aiforge.api.measured import Measured, Record
from aiforge.api.middleware import BodyLimit, Envelope, LocalClients, RequestContext
from aiforge.api.routers import (
    artifacts,
    audit,
    chat,
    data_sources,
    datasets,
    docs,
    events,
    exports,
    fine_tune,
    health,
    jobs,
    keys,
    missions,
    models,
    webhooks,
)
from aiforge.services.context import Services
from aiforge.settings import Settings

JSON_LIMIT_BYTES = 1 << 20


def create_app(
    services: Services, *, name_answers: bool = True, record: Record | None = None
) -> FastAPI:
    """The REST API over the given services.

    Args:
        name_answers: Send ``X-Request-Id`` back; Ray Serve does so by itself.
        record: Told how each request went.
    """

    def serving() -> Services:
        found: Services = app.state.services
        return found

    def settings() -> Settings:
        return serving().settings

    def limit_of(media_type: str) -> int:
        uploads = media_type == "multipart/form-data"
        return settings().max_upload_bytes if uploads else JSON_LIMIT_BYTES

    app = FastAPI(
        title="AI Forge",
        summary="From a code repository to a language model that knows it.",
        version=__version__,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        middleware=[
            *([] if record is None else [Middleware(Measured, record=record)]),
            Middleware(RequestContext, name_answers=name_answers),
            Middleware(LocalClients, is_open=lambda: settings().env == "development"),
            Middleware(Guard, services=serving),
            Middleware(Envelope),
            Middleware(BodyLimit, limit_of=limit_of),
        ],
    )
    app.state.services = services
    errors.install(app)
    for module in (
        jobs,
        health,
        fine_tune,
        data_sources,
        datasets,
        exports,
        models,
        chat,
        missions,
        artifacts,
        events,
        keys,
        audit,
        webhooks,
        docs,
    ):
        _include(app, module.router)
    openapi.install(app)
    return app


def _include(app: FastAPI, router: APIRouter) -> None:
    """Add routes to the application's own, where a request is matched once.

    A router within a router costs each request a second look at all of its routes.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            route.operation_id = openapi.operation_id(route)
        app.router.routes.append(route)
