"""The application, without Ray: it runs and is tested in one plain process."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware import Middleware

from aiforge import __version__
from aiforge.api import errors, openapi
from aiforge.api.middleware import BodyLimit, Envelope, RequestContext
from aiforge.api.routers import data_sources, datasets, events, fine_tune, health, jobs
from aiforge.services.context import Services

JSON_LIMIT_BYTES = 1 << 20


def create_app(services: Services) -> FastAPI:
    """The REST API over the given services."""

    def limit_of(media_type: str) -> int:
        serving: Services = app.state.services
        uploads = media_type == "multipart/form-data"
        return serving.settings.max_upload_bytes if uploads else JSON_LIMIT_BYTES

    app = FastAPI(
        title="AI Forge",
        summary="From a code repository to a language model that knows it.",
        version=__version__,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
        middleware=[
            Middleware(RequestContext),
            Middleware(Envelope),
            Middleware(BodyLimit, limit_of=limit_of),
        ],
    )
    app.state.services = services
    errors.install(app)
    for module in (health, data_sources, datasets, fine_tune, jobs, events):
        app.include_router(module.router)
    openapi.install(app)
    return app
