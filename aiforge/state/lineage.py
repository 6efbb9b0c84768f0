"""Where a model comes from, told from the rows that its making left."""

from __future__ import annotations

from sqlalchemy import Connection, select

from aiforge.errors import NotFound
from aiforge.schemas.datasets import Dataset
from aiforge.schemas.models import Lineage, LineageDataset, LineageJob, LineageSource
from aiforge.schemas.runs import RunKind
from aiforge.schemas.sources import Source
from aiforge.state import datasets, jobs, models, runs, sources
from aiforge.state.ops import read


@read
def of_model(connection: Connection, model_id: str) -> Lineage:
    """A model with its job, its dataset, and the revisions of that dataset's sources.

    What was deleted since is named by its id, and its revision still told.

    Raises:
        NotFound: There is no such model.
    """
    model = models.get(connection, model_id)
    job = jobs.get(connection, model.job_id)
    dataset = _dataset(connection, job.dataset_id)
    return Lineage(
        model=model,
        job=LineageJob(
            id=job.id,
            status=job.status,
            config=job.config,
            started_at=job.started_at,
            finished_at=job.finished_at,
            final_loss=job.result.get("finalLoss"),
        ),
        dataset=LineageDataset(
            id=job.dataset_id,
            name=job.dataset_name,
            exists=dataset is not None,
            example_count=dataset.example_count if dataset else None,
            quality=dataset.quality if dataset else None,
        ),
        sources=[_source(connection, snapshot) for snapshot in _read(connection, job.dataset_id)],
    )


def _dataset(connection: Connection, dataset_id: str) -> Dataset | None:
    try:
        return datasets.get(connection, dataset_id)
    except NotFound:
        return None


def _read(connection: Connection, dataset_id: str) -> list[sources.Snapshot]:
    """What the dataset was built from: its run outlives it."""
    query = select(runs.runs.c.spec).where(
        runs.runs.c.resource_id == dataset_id, runs.runs.c.kind == RunKind.GENERATE
    )
    spec = connection.execute(query.order_by(runs.runs.c.id.desc()).limit(1)).scalar_one_or_none()
    return datasets.GenerateSpec.model_validate(spec).snapshots if spec else []


def _source(connection: Connection, snapshot: sources.Snapshot) -> LineageSource:
    found: Source | None
    try:
        found = sources.get(connection, snapshot.source_id)
    except NotFound:
        found = None
    return LineageSource(
        id=snapshot.source_id,
        revision=snapshot.revision,
        exists=found is not None,
        name=found.name if found else None,
        url=found.url if found else None,
        branch=found.branch if found else None,
    )
