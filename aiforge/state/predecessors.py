"""Datasets of one project that were built from the same sources, one after another."""

from __future__ import annotations

from sqlalchemy import Connection, select

from aiforge.schemas.common import Wire
from aiforge.schemas.datasets import Dataset, DatasetStatus
from aiforge.state import datasets
from aiforge.state.jobs import jobs
from aiforge.state.ops import read


class Pair(Wire):
    """The newest dataset and the one before it; both have a quality."""

    newest: Dataset
    before: Dataset


@read
def of_project(connection: Connection, project_name: str) -> Pair | None:
    """The two newest ready datasets of the sources that a project was trained on last."""
    table = datasets.datasets
    sources = connection.execute(
        select(table.c.source_ids)
        .join_from(jobs, table, table.c.id == jobs.c.dataset_id)
        .where(jobs.c.project_name == project_name)
        .order_by(jobs.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    if sources is None:
        return None
    rows = connection.execute(
        select(*table.c["id", "source_ids"])
        .where(table.c.status == DatasetStatus.READY, table.c.quality.is_not(None))
        .order_by(table.c.id.desc())
        .limit(200)
    )
    alike = [row.id for row in rows if set(row.source_ids) == set(sources)][:2]
    if len(alike) < 2:
        return None
    newest, before = (datasets.get(connection, one) for one in alike)
    return Pair(newest=newest, before=before)
