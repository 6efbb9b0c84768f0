"""Exports of what jobs trained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from aiforge.errors import AIForgeError, Conflict, Failure, InvalidInput, NotFound
from aiforge.export.plan import PARITY_FILE
from aiforge.modeling.bases import resolve_base_model
from aiforge.schemas.common import Listing, Message, Page
from aiforge.schemas.exports import (
    Export,
    ExportDetail,
    ExportFile,
    ExportRequest,
    ExportStatus,
)
from aiforge.schemas.models import ModelActionRequest, ModelStatus
from aiforge.services import copies, exported, models, preflight
from aiforge.services.context import Services
from aiforge.state import exports, jobs, outcomes, removals
from aiforge.state import models as registry
from aiforge.state.store import RequestKey
from aiforge.storage import Storage, export_dir


async def create(
    services: Services,
    job_id: str,
    request: ExportRequest,
    wait: float,
    actor: str,
    key: RequestKey | None = None,
) -> Export:
    """Export what a job trained; one that is there, or is being made, is not made again.

    One whose files are gone or damaged is made anew, and takes the place of the lost one.

    Args:
        wait: Seconds to wait for its end.
        actor: Who asks; a deployment records it.
        key: Of an ``Idempotency-Key``; the same one again returns the same export.

    Returns:
        The export as it is after the wait, still ``running`` where that did not suffice.

    Raises:
        NotFound: There is no such job.
        InvalidInput: It cannot be had in this format or type.
        Conflict: The job has not completed, the key was used for another request, what
            Ollama made of the file is not the model, or the export was cancelled meanwhile.
        Unavailable: The disk is full; or Ollama is away, and the export completes and stays.
        Failure: The export failed; why stands in the message.
    """
    deadline = time.monotonic() + wait
    if request.deploy_to_ollama and request.format != "gguf":
        error = "Ollama loads gguf alone"
        raise InvalidInput(f"{error}.", code="validation_failed", field="format", error=error)
    job = await services.state.call(jobs.get, job_id)
    base = await asyncio.to_thread(resolve_base_model, job.base_model, services.settings)
    resources = preflight.export_resources(base, request.format, exports.quantization_of(request))
    preflight.require_disk(services.settings, services.storage, resources.disk_bytes)
    lost = await _lost(services, job_id, request)
    export = await services.state.once(key).call(
        exports.create, job_id, request, resources, None if lost is None else lost.export_id
    )
    if lost is not None and export.export_id != lost.export_id:
        await asyncio.to_thread(_remove_files, services, lost)
    await services.state.wait(wait, export.export_id, exports.finished, export.export_id)
    export = await services.state.call(exports.get, export.export_id)
    _require_not_failed(export)
    if not request.deploy_to_ollama:
        return export
    return await _deployed(services, export, actor, max(0.0, deadline - time.monotonic()))


async def _lost(services: Services, job_id: str, request: ExportRequest) -> Export | None:
    """The same export, where it had completed and its files are not there any more."""
    kind = exports.quantization_of(request)
    known = await services.state.call(exports.same, job_id, request.format, kind)
    if known is None or known.status is not ExportStatus.COMPLETED:
        return None
    is_whole = await asyncio.to_thread(exported.is_whole, services.storage, known)
    return None if is_whole else known


def _require_not_failed(export: Export) -> None:
    if export.status is not ExportStatus.FAILED:
        return
    if export.error_code == "cancelled":
        raise Conflict(
            f"{export.export_id} was cancelled.",
            code="export_cancelled",
            exportId=export.export_id,
        )
    raise Failure(
        export.error or "The export failed.",
        code=export.error_code or "export_failed",
        exportId=export.export_id,
    )


async def _deployed(services: Services, export: Export, actor: str, wait: float) -> Export:
    """The export as it is after its deployment, which may take the time that is left.

    The first model of a project that is deployed becomes active, so that a name follows it.
    """
    model = await services.state.call(registry.of_job, export.job_id)
    if model is None:
        raise Conflict(
            f"The model of {export.job_id} was deleted; the export stays and can be downloaded.",
            code="model_not_found",
            exportId=export.export_id,
        )
    deadline = time.monotonic() + wait
    request = ModelActionRequest(reason=f"Exported as {export.quantization}")
    try:
        deployed = await models.deploy(
            services,
            model.id,
            request,
            actor,
            wait,
            export_id=export.export_id,
        )
        name = deployed.ollama_name
        if deployed.status is not ModelStatus.DEPLOYING:
            left = max(0.0, deadline - time.monotonic())
            model = await models.activate_first(services, model.id, request, actor, left)
            name = model.ollama_name or name
    except AIForgeError as error:
        # The export stays, and whoever asked should know where.
        error.detail.setdefault("exportId", export.export_id)
        raise
    under_way = deployed.status is ModelStatus.DEPLOYING
    return export.model_copy(
        update={
            "ollama_name": name,
            "status": ExportStatus.RUNNING if under_way else export.status,
            "stage": "deploying" if under_way else export.stage,
        }
    )


async def list_page(services: Services, job_id: str, page: Page) -> Listing[Export]:
    """The exports of a job, newest first; or ``NotFound``."""
    return await services.state.call(exports.page, job_id, page.limit, page.offset)


async def get(services: Services, job_id: str, export_id: str) -> ExportDetail:
    """One export of a job with what was compared of it, or ``NotFound``."""
    export = await _of_job(services, job_id, export_id)
    detail = ExportDetail(**export.model_dump(by_alias=False))
    if export.status is ExportStatus.COMPLETED:
        detail.parity = await asyncio.to_thread(_parity, services.storage, export_id)
    return detail


async def file(
    services: Services, job_id: str, export_id: str, name: str | None = None
) -> ExportFile:
    """What is known of one file of an export, of its main one by default.

    Raises:
        NotFound: There is no such export, or it has no such file.
        Conflict: It has not completed.
    """
    export = await _of_job(services, job_id, export_id)
    if export.status is not ExportStatus.COMPLETED:
        raise Conflict(
            f"{export_id} is {export.status}; its files are there once it has completed.",
            code="export_not_completed",
            status=str(export.status),
        )
    for candidate in export.files:
        if candidate.name == name or (name is None and candidate.sha256 == export.sha256):
            return candidate
    raise NotFound(f"{export_id} has no file {name!r}.", code="file_not_found")


async def content(
    services: Services, export_id: str, file: ExportFile, start: int, end: int
) -> Iterator[bytes]:
    """The bytes of a file from ``start`` up to, not including, ``end``, in pieces.

    Raises:
        NotFound: The file is gone (``file_not_found``).
    """
    path = f"{export_dir(export_id)}/{file.name}"
    return await asyncio.to_thread(services.storage.pieces, path, start, end)


async def cancel(
    services: Services, job_id: str, export_id: str, key: RequestKey | None = None
) -> Message:
    """Stop an export, which then has failed and left no file; to do so twice is no error.

    Raises:
        NotFound: The job has no such export.
        Conflict: It has completed or failed.
    """
    run_id = await services.state.call(exports.run_of, job_id, export_id)
    await services.state.once(key).call(outcomes.cancel, run_id)
    return Message(message="Export cancelled")


async def delete(
    services: Services, job_id: str, export_id: str, key: RequestKey | None = None
) -> Message:
    """Delete an export and its files; the same can be exported anew.

    Raises:
        NotFound: The job has no such export.
        Conflict: It is being made, or a model is served from it.
    """
    export = await services.state.once(key).call(removals.delete_export, job_id, export_id)
    await asyncio.to_thread(_remove_files, services, export)
    return Message(message="Deleted")


def _remove_files(services: Services, export: Export) -> None:
    directory = export_dir(export.export_id)
    if services.storage.exists(directory):
        services.storage.retire(directory)
    if export.sha256 is not None:
        copies.forget(services.settings, export.sha256)


async def _of_job(services: Services, job_id: str, export_id: str) -> Export:
    export = await services.state.call(exports.get, export_id)
    if export.job_id != job_id:
        raise NotFound(f"{job_id} has no export {export_id}.", code="export_not_found")
    return export


def _parity(storage: Storage, export_id: str) -> dict[str, object] | None:
    try:
        found: dict[str, object] = storage.read_json(f"{export_dir(export_id)}/{PARITY_FILE}")
    except NotFound:
        return None
    return found
