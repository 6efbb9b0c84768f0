"""Exports of what jobs trained."""

from __future__ import annotations

import os
from pathlib import Path

from aiforge.client._files import Progress
from aiforge.client._flow import Flow
from aiforge.client._flows.common import Page, fetch, fetch_page, given, post, quoted, until
from aiforge.client._flows.common import (
    delete as delete_at,
)
from aiforge.client._flows.downloads import save
from aiforge.errors import Conflict, Failure, NotFound
from aiforge.schemas.common import Message
from aiforge.schemas.exports import (
    Export,
    ExportDetail,
    ExportFile,
    ExportFormat,
    ExportStatus,
    Quantization,
)

SERVER_WAIT = 15.0
"""Seconds that one request waits; a connection that lives longer may be cut."""


def create(
    job_id: str,
    *,
    quantization: Quantization | None = None,
    format: ExportFormat | None = None,
    deploy_to_ollama: bool | None = None,
    timeout: float | None = None,
) -> Flow[ExportDetail]:
    """Export what a job trained, and wait until it was compared; what exists is not made again.

    Args:
        quantization: ``q4_k_m`` unless given.
        format: ``gguf`` unless given.
        deploy_to_ollama: Deploy the model from it as well.
        timeout: Seconds to wait for the end at most; for ever when absent.

    Raises:
        Failure: The export failed; ``code`` and message say why.
        Conflict: It was cancelled (``export_cancelled``).
        Unavailable: It was to be deployed, and no Ollama server answers; the export stays.
        TimeoutError: It takes longer than ``timeout``.
    """
    body = given(quantization=quantization, format=format, deploy_to_ollama=deploy_to_ollama)
    begun = yield from post(
        Export,
        f"/jobs/{quoted(job_id)}/export",
        json=body,
        params={"wait": SERVER_WAIT},
        timeout=SERVER_WAIT + 30,
    )
    export = yield from until(
        lambda: get(job_id, begun.export_id),
        lambda e: e.status != ExportStatus.RUNNING,
        timeout,
        begun.export_id,
    )
    if export.status == ExportStatus.FAILED and export.error_code == "cancelled":
        raise Conflict(
            f"{export.export_id} was cancelled.",
            code="export_cancelled",
            exportId=export.export_id,
        )
    if export.status == ExportStatus.FAILED:
        raise Failure(
            export.error or "The export failed.",
            code=export.error_code,
            exportId=export.export_id,
        )
    return export


def list_(
    job_id: str, *, limit: int | None = None, offset: int | None = None
) -> Flow[Page[Export]]:
    """The exports of a job, newest first; 50 unless ``limit`` (at most 500) says otherwise."""
    return fetch_page(Export, f"/jobs/{quoted(job_id)}/exports", limit=limit, offset=offset)


def get(job_id: str, export_id: str) -> Flow[ExportDetail]:
    """One export of a job, with what was compared of it.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(ExportDetail, f"/jobs/{quoted(job_id)}/exports/{quoted(export_id)}")


def cancel(job_id: str, export_id: str) -> Flow[Message]:
    """Stop an export that waits or is being made; to do so twice is no error.

    It then has failed, with the code ``cancelled``, and left no file.

    Raises:
        NotFound: There is none with this id.
        Conflict: It has completed or failed.
    """
    return post(Message, f"/jobs/{quoted(job_id)}/exports/{quoted(export_id)}/cancel")


def delete(job_id: str, export_id: str) -> Flow[Message]:
    """Delete an export and its files; the same can be exported anew.

    Raises:
        NotFound: There is none with this id.
        Conflict: It is being made (``export_not_ended``), or a model is served from it
            (``export_in_use``).
    """
    return delete_at(Message, f"/jobs/{quoted(job_id)}/exports/{quoted(export_id)}")


def download(
    job_id: str,
    export_id: str,
    target: str | os.PathLike[str] = ".",
    *,
    name: str | None = None,
    progress: Progress | None = None,
) -> Flow[Path]:
    """Download a file of an export, compare its hash, and return where it lies.

    Called again after an interruption, it goes on where it broke off.

    Args:
        target: The file to write, or a directory, in which it gets its own name.
        name: Which file, where there are several; the main one when absent.
        progress: Called with the bytes that are there so far and the bytes in all.

    Raises:
        NotFound: There is no such export, or it has no such file.
        Conflict: It has not completed.
        Failure: What arrived is not the file.
    """
    export = yield from get(job_id, export_id)
    file = _file(export, name)
    path = f"/jobs/{quoted(job_id)}/exports/{quoted(export_id)}/files/{quoted(file.name)}"
    return (
        yield from save(
            path, target, name=file.name, size=file.size, sha256=file.sha256, progress=progress
        )
    )


def _file(export: Export, name: str | None) -> ExportFile:
    if export.status != ExportStatus.COMPLETED:
        raise Conflict(
            f"{export.export_id} is {export.status}; its files are there once it has completed.",
            code="export_not_completed",
        )
    for file in export.files:
        if file.name == name or (name is None and file.sha256 == export.sha256):
            return file
    listed = ", ".join(file.name for file in export.files)
    raise NotFound(f"{export.export_id} has no such file; it has {listed}.", code="file_not_found")
