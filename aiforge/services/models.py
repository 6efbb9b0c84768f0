"""The model registry."""

from __future__ import annotations

from aiforge.schemas.common import Listing, Message, Page
from aiforge.schemas.models import Lineage, Model, ModelActionRequest, ModelChange, ModelStatus
from aiforge.services.context import Services
from aiforge.state import lineage as lineages
from aiforge.state import models
from aiforge.state.store import RequestKey


async def list_page(
    services: Services,
    page: Page,
    project_name: str | None = None,
    status: ModelStatus | None = None,
) -> Listing[Model]:
    """Models, newest first."""
    project = services.only_project(project_name)
    return await services.state.call(models.page, page.limit, page.offset, project, status)


async def get(services: Services, model_id: str) -> Model:
    """One model, or ``NotFound``."""
    return await services.state.call(models.get, model_id)


async def active(services: Services, project_name: str | None = None) -> Model:
    """The active model of a project, else the one activated last; ``NotFound`` without one."""
    return await services.state.call(models.active, services.only_project(project_name))


async def lineage(services: Services, model_id: str) -> Lineage:
    """The job, dataset and commits that a model comes from, or ``NotFound``."""
    return await services.state.call(lineages.of_model, model_id)


async def history(services: Services, model_id: str) -> list[ModelChange]:
    """What was done to a model, by whom and why, oldest first; or ``NotFound``."""
    return await services.state.call(models.history, model_id)


async def delete(
    services: Services,
    model_id: str,
    request: ModelActionRequest,
    actor: str,
    key: RequestKey | None = None,
) -> Message:
    """Delete a model that is not active.

    Raises:
        NotFound: There is no such model.
        Conflict: It is active, or something is being done to it.
    """
    await services.state.once(key).call(models.delete, model_id, actor, request.reason)
    return Message(message="Deleted")
