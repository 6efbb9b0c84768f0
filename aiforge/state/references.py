"""What the state refers to in the storage: the roots from which nothing is ever removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, select

from aiforge.schemas.common import Wire
from aiforge.schemas.datasets import DatasetStatus
from aiforge.schemas.exports import ExportStatus
from aiforge.schemas.runs import RunKind
from aiforge.state.artifacts import artifacts
from aiforge.state.datasets import datasets
from aiforge.state.exports import exports
from aiforge.state.jobs import jobs
from aiforge.state.missions import missions
from aiforge.state.models import models
from aiforge.state.ops import scan
from aiforge.state.proposals import Expectation
from aiforge.state.runs import OPEN, runs
from aiforge.state.sources import sources
from aiforge.storage import snapshot_dir

_ID = re.compile(r"(?:job|ds|src|export|run|parse)-[0-9a-z]+")
_SNAPSHOT = re.compile(r"sources/[^/\s]+/snapshots/[^/\s]+")


class References(Wire):
    """Ids and paths that something living names. Ids are those of whatever kind."""

    ids: set[str] = Field(default_factory=set)
    """Sources, datasets, jobs and exports whose files are wanted."""

    snapshots: set[str] = Field(default_factory=set)
    """Directories of snapshots, relative to the storage's root."""

    contents: set[str] = Field(default_factory=set)
    """SHA-256 of what artifacts hold."""

    building: set[str] = Field(default_factory=set)
    """Datasets that are being built."""

    open_runs: set[str] = Field(default_factory=set)
    """Runs that have not ended; a job is a run."""

    open_kinds: set[RunKind] = Field(default_factory=set)
    """What these do."""

    busy: set[str] = Field(default_factory=set)
    """All that the runs that have not ended name: it is left alone as a whole."""


@scan
def references(connection: Connection) -> References:
    """Everything that the state refers to at this moment."""
    found = References()
    _open_runs(connection, found)
    _sources(connection, found)
    _datasets(connection, found)
    _jobs(connection, found)
    _missions(connection, found)
    found.contents.update(connection.execute(select(artifacts.c.sha256)).scalars())
    return found


def _open_runs(connection: Connection, found: References) -> None:
    query = select(*runs.c["id", "kind", "resource_id", "spec"]).where(runs.c.status.in_(OPEN))
    for run in connection.execute(query):
        found.open_runs.add(run.id)
        found.open_kinds.add(RunKind(run.kind))
        found.busy |= {run.id, run.resource_id}
        _name(found, run.spec, found.busy)
    found.ids |= found.busy


def _sources(connection: Connection, found: References) -> None:
    for source in connection.execute(select(*sources.c["id", "snapshot"])):
        found.ids.add(source.id)
        _name(found, source.snapshot, set())


def _datasets(connection: Connection, found: References) -> None:
    query = select(*datasets.c["id", "status"], runs.c.spec).join(
        runs, runs.c.id == datasets.c.run_id
    )
    for dataset in connection.execute(query):
        found.ids.add(dataset.id)
        if dataset.status == DatasetStatus.GENERATING:
            found.building.add(dataset.id)
        _name(found, dataset.spec, set())


def _jobs(connection: Connection, found: References) -> None:
    """Jobs that have a model, or never had one and completed; exports that are whole."""
    gone = set(
        connection.execute(
            select(models.c.job_id).where(models.c.deleted_at.is_not(None))
        ).scalars()
    )
    for model in connection.execute(
        select(*models.c["job_id", "dataset_id", "base_model"]).where(models.c.deleted_at.is_(None))
    ):
        found.ids |= {model.job_id, model.dataset_id}
        _name(found, model.base_model, found.ids)
    completed = select(*jobs.c["id", "base_model"]).join(runs, runs.c.id == jobs.c.id)
    for job in connection.execute(completed.where(runs.c.status == "completed")):
        if job.id not in gone:
            found.ids.add(job.id)
            _name(found, job.base_model, found.ids)
    for export in connection.execute(select(*exports.c["id", "job_id", "status"])):
        if export.status != ExportStatus.FAILED and export.job_id not in gone:
            found.ids.add(export.id)


def _missions(connection: Connection, found: References) -> None:
    columns = ("action", "expects", "evidence", "related", "execution")
    for mission in connection.execute(select(*missions.c[columns])):
        for value in mission:
            _name(found, value, found.ids)
        expected = Expectation.model_validate(mission.expects)
        for source_id, revision in expected.source_revisions.items():
            found.snapshots.add(snapshot_dir(source_id, revision))


def _name(found: References, value: Any, ids: set[str]) -> None:
    """Note every id and snapshot that appears anywhere in a value."""
    for text in _texts(value):
        ids.update(_ID.findall(text))
        found.snapshots.update(_SNAPSHOT.findall(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
