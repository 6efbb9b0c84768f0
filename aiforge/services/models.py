"""The model registry."""

from __future__ import annotations

import asyncio
import contextlib

from aiforge.errors import Conflict, Failure, NotFound, Unavailable
from aiforge.modeling.bases import resolve_base_model
from aiforge.schemas.common import Listing, Message, Page
from aiforge.schemas.exports import ExportRequest
from aiforge.schemas.models import (
    DeployResponse,
    Lineage,
    Model,
    ModelActionRequest,
    ModelActionResponse,
    ModelChange,
    ModelStatus,
    version_tag,
)
from aiforge.schemas.runs import Resources, Run, RunStatus
from aiforge.services import exported, preflight
from aiforge.services.context import Services
from aiforge.serving.ollama import Ollama
from aiforge.state import deployments, exports, models, runs
from aiforge.state import lineage as lineages
from aiforge.state.deployments import DeploySpec
from aiforge.state.store import RequestKey

RESOURCES = Resources(cpus=0, memory_bytes=1 << 30)
"""A driver with a tokenizer; what answers occupies its memory elsewhere."""

RETRY_AFTER_SECONDS = 5

LOOK_SECONDS = 10.0
"""How long a server that is busy may take to say that it is there."""

_AWAY = frozenset(
    {
        "ollama_unreachable",
        "ollama_timeout",
        "ollama_interrupted",
        "ollama_disk_full",
        "ollama_busy",
        "ollama_failed",
        "ollama_blob_lost",
        "disk_full",
        "llama_cpp_missing",
        "model_too_large",
    }
)
"""Codes of failed runs that say that something is away, full or ill."""

_FAULTS = frozenset(
    {
        "internal_error",
        "driver_lost",
        "gguf_unreadable",
        "base_model_unreadable",
        "export_damaged",
    }
)
"""Codes of failed runs that no state of a resource is to blame for."""


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


async def deploy(
    services: Services,
    model_id: str,
    request: ModelActionRequest,
    actor: str,
    wait: float,
    key: RequestKey | None = None,
    export_id: str | None = None,
) -> DeployResponse:
    """Deploy a model to Ollama under a name of its own; export it first where that was not done.

    Args:
        actor: Who asks, for the history.
        wait: Seconds to wait for the end; then the answer says that it is under way.
        export_id: Which export to deploy, done or under way; else the newest.

    Raises:
        NotFound: There is no such model.
        Conflict: Something is being done to it, or what the server made of it is not the model.
        Unavailable: The server is away or full, or the disk is.
        Failure: The export or the deployment failed.
    """
    model = await services.state.call(models.get, model_id)
    await _require_ollama(services)
    if export_id is None:
        await _require_export(services, model)
    run = await services.state.once(key).call(
        deployments.deploy, model_id, actor, request.reason, RESOURCES, export_id
    )
    ended = await _ended(services, run, wait)
    model = await services.state.call(models.get, model_id)
    return DeployResponse(
        ollama_name=version_tag(model.project_name, model.version),
        message="Deployed successfully" if ended else "Deployment is under way",
        status=model.status,
        run_id=run.id,
    )


async def activate_first(
    services: Services, model_id: str, request: ModelActionRequest, actor: str, wait: float
) -> Model:
    """Activate a model whose project has no active one, as it takes nobody's place; the model.

    Raises:
        NotFound, Conflict, Unavailable, Failure: As ``activate``.
    """
    model = await services.state.call(models.get, model_id)
    found = await services.state.call(models.page, 1, 0, model.project_name, ModelStatus.ACTIVE)
    if not found.total:
        await activate(services, model_id, request, actor, wait)
    return await services.state.call(models.get, model_id)


async def activate(
    services: Services,
    model_id: str,
    request: ModelActionRequest,
    actor: str,
    wait: float,
    key: RequestKey | None = None,
) -> ModelActionResponse:
    """Have a model answer for its project, through Ollama where the project is deployed there.

    A project that nothing was deployed of is served by llama.cpp here, and needs no server.

    Raises:
        NotFound: There is no such model.
        Conflict: Something is being done to it, it was not exported, or not deployed where
            the project is served by Ollama, or it did not answer as it was trained to.
        Unavailable: The project is served by Ollama, and the server is away.
    """
    model = await services.state.call(models.get, model_id)
    await _require_engine(services, model)
    run = await services.state.once(key).call(
        deployments.activate, model_id, actor, request.reason, RESOURCES
    )
    return await _acted(services, run, wait, "Activated", "Activation is under way")


async def rollback(
    services: Services,
    model_id: str,
    request: ModelActionRequest,
    actor: str,
    wait: float,
    key: RequestKey | None = None,
) -> ModelActionResponse:
    """Return a project from its active model to the one that was active before.

    Raises:
        NotFound: There is no such model.
        Conflict: It is not active, nothing was active before, or what was does not answer.
        Unavailable: The project is served by Ollama, and the server is away.
    """
    model = await services.state.call(models.get, model_id)
    await _require_engine(services, model)
    run = await services.state.once(key).call(
        deployments.rollback, model_id, actor, request.reason, RESOURCES
    )
    return await _acted(services, run, wait, "Rolled back", "Rollback is under way")


async def delete(
    services: Services,
    model_id: str,
    request: ModelActionRequest,
    actor: str,
    key: RequestKey | None = None,
) -> Message:
    """Delete a model that is not active, on the Ollama server too.

    Raises:
        NotFound: There is no such model.
        Conflict: It is active, or something is being done to it.
        Unavailable: It is on the server, and that is away.
    """
    model = await services.state.call(models.get, model_id)
    if model.deployed_at is not None and model.status is not ModelStatus.ACTIVE:
        await _require_ollama(services)
    await services.state.once(key).call(models.delete, model_id, actor, request.reason)
    if model.deployed_at is not None:
        await asyncio.to_thread(_undeploy, services, model)
    return Message(message="Deleted")


def _undeploy(services: Services, model: Model) -> None:
    with Ollama(services.settings.ollama_url) as server, contextlib.suppress(NotFound):
        server.delete(version_tag(model.project_name, model.version))


async def _require_ollama(services: Services) -> None:
    """Refuse at once what the server would have to be there for.

    Raises:
        Unavailable: It does not answer.
    """
    try:
        await asyncio.to_thread(_version, services.settings.ollama_url)
    except Unavailable as error:
        error.message += " Without Ollama a model that is exported can be activated as it is."
        raise


def _version(url: str) -> str:
    with Ollama(url, timeout=LOOK_SECONDS, attempts=1) as server:
        return server.version()


async def _require_engine(services: Services, model: Model) -> None:
    if model.deployed_at is not None:
        await _require_ollama(services)
    elif await services.state.call(exports.newest, model.job_id) is None:
        await asyncio.to_thread(exported.require_under_way, services.state, model)


async def _require_export(services: Services, model: Model) -> None:
    """Queue an export of a model that has none."""
    if await services.state.call(exports.newest, model.job_id) is not None:
        return
    request = ExportRequest()
    base = await asyncio.to_thread(resolve_base_model, model.base_model, services.settings)
    kind = exports.quantization_of(request)
    resources = preflight.export_resources(base, request.format, kind)
    preflight.require_disk(services.settings, services.storage, resources.disk_bytes)
    await services.state.call(exports.create, model.job_id, request, resources)


async def _acted(
    services: Services, run: Run, wait: float, done: str, under_way: str
) -> ModelActionResponse:
    ended = await _ended(services, run, wait)
    target = DeploySpec.model_validate(run.spec).target_id
    model = await services.state.call(models.get, target)
    return ModelActionResponse(
        message=done if ended else under_way,
        model_id=model.id,
        status=model.status,
        run_id=run.id,
    )


async def _ended(services: Services, run: Run, wait: float) -> bool:
    """Whether a run completed within the time; what it failed of is raised.

    Raises:
        Unavailable, Conflict, Failure: It failed, by what that calls for.
    """
    ended = await services.state.wait(wait, run.id, runs.ended, run.id)
    if ended is None:
        return False
    if ended.status is RunStatus.COMPLETED:
        return True
    message, code = ended.error or "Cancelled on request.", ended.error_code or "cancelled"
    if code in _AWAY:
        raise Unavailable(message, code=code, retryAfter=RETRY_AFTER_SECONDS, runId=run.id)
    if code in _FAULTS:
        raise Failure(message, code=code, runId=run.id)
    raise Conflict(message, code=code, runId=run.id)
