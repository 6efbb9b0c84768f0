"""Deleting resources: refused as long as anything uses them."""

from __future__ import annotations

from sqlalchemy import Connection

from aiforge.errors import Conflict
from aiforge.state import datasets, jobs, sources
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
