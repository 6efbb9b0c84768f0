"""Exports of what jobs trained."""

from __future__ import annotations

from aiforge.client._flow import Flow
from aiforge.client._flows.common import Page, fetch, fetch_page, given, post, quoted, until
from aiforge.errors import Failure
from aiforge.schemas.exports import Export, ExportDetail, ExportFormat, ExportStatus, Quantization

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
