"""Deleting resources: refused as long as anything uses them."""

from __future__ import annotations

from sqlalchemy import Connection

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.exports import Export, ExportStatus
from aiforge.state import answering, datasets, exports, jobs, sources
from aiforge.state.ops import write


@write
def delete_source(connection: Connection, source_id: str) -> None:
    """Delete a source; its files are the caller's business.

    Raises:
        NotFound: There is no such source.
        Conflict: It is being synced, or a dataset is being built from it.
    """
    sources.get(connection, source_id)
    dataset = datasets.generating_from(connection, source_id)
    if dataset is not None:
        raise Conflict(
            f"{dataset.id} is being built from {source_id}; wait for it or cancel it.",
            code="source_in_use",
            datasetId=dataset.id,
        )
    sources.remove(connection, source_id)


@write
def delete_dataset(connection: Connection, dataset_id: str) -> None:
    """Delete a dataset; its files are the caller's business.

    Raises:
        NotFound: There is no such dataset.
        Conflict: It is being built, or a job trains on it.
    """
    datasets.get(connection, dataset_id)
    job_id = jobs.training_on(connection, dataset_id)
    if job_id is not None:
        raise Conflict(
            f"{job_id} trains on {dataset_id}; wait for it or cancel it.",
            code="dataset_in_use",
            jobId=job_id,
        )
    datasets.remove(connection, dataset_id)


@write
def delete_export(connection: Connection, job_id: str, export_id: str) -> Export:
    """Delete an export and return what it was; its files are the caller's business.

    Raises:
        NotFound: The job has no such export.
        Conflict: It is being made (``export_not_ended``), or a model is served from it
            (``export_in_use``).
    """
    export = exports.get(connection, export_id)
    if export.job_id != job_id:
        raise NotFound(f"{job_id} has no export {export_id}.", code="export_not_found")
    if export.status is ExportStatus.RUNNING:
        raise Conflict(
            f"{export_id} is being made; wait for it, or cancel it first: aiforge export cancel "
            f"{job_id} {export_id}, or POST /jobs/{job_id}/exports/{export_id}/cancel.",
            code="export_not_ended",
        )
    model = answering.served_from(connection, export)
    if model is not None:
        raise Conflict(
            f"{model.name} is served from {export_id}; export another type and deploy that, or "
            "delete the model first.",
            code="export_in_use",
            modelId=model.id,
        )
    exports.remove(connection, export_id)
    return export
