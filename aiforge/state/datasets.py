"""RAFT datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
)

from aiforge.errors import AIForgeError, Conflict, InvalidInput, NotFound
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.schemas.datasets import (
    Dataset,
    DatasetFormat,
    DatasetStatus,
    GenerateRequest,
    RaftConfig,
    TeacherConfig,
)
from aiforge.schemas.runs import Resources, Run, RunKind
from aiforge.state import events, lifecycles, projects, runs, sources
from aiforge.state.ops import read, write
from aiforge.state.prepared import PreparedQuery
from aiforge.state.schema import Json, Moment, metadata, now, to_model

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("format", String(16), nullable=False),
    Column("source_ids", Json, nullable=False),
    Column("train_count", Integer, nullable=False, default=0),
    Column("validation_count", Integer, nullable=False, default=0),
    Column("chunk_count", Integer, nullable=False, default=0),
    Column("quality", Float),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("error", Text),
    Column("error_code", String(64)),
    Column("created_at", Moment, nullable=False),
    Index("ix_datasets_status", "status", "id"),
)


class GenerateSpec(Wire):
    """What a run of kind ``generate`` works from, frozen when it was queued."""

    snapshots: list[sources.Snapshot]
    format: DatasetFormat
    max_examples: int
    base_model: str
    raft: RaftConfig
    teacher: TeacherConfig | None = None


class GenerateOutcome(Wire):
    """What a build leaves behind."""

    train_count: int
    validation_count: int
    chunk_count: int
    quality: float | None = None


@write
def create(connection: Connection, request: GenerateRequest, resources: Resources) -> Dataset:
    """Store a dataset and queue the run that builds it.

    Raises:
        InvalidInput: A source does not exist (``unknown_source``).
        Conflict: A source has no snapshot yet.
    """
    try:
        snapshots = [
            sources.require_snapshot(connection, source_id)
            for source_id in dict.fromkeys(request.source_ids)
        ]
    except NotFound as error:
        raise InvalidInput(
            f"{error.message} Choose from GET /data-sources.",
            code="unknown_source",
            field="sourceIds",
            error=error.message,
        ) from error
    spec = GenerateSpec(
        snapshots=snapshots, **request.model_dump(include=set(GenerateSpec.model_fields))
    )
    dataset_id = new_id("ds")
    run = runs.create(
        connection,
        id=new_id("run"),
        kind=RunKind.GENERATE,
        resource_id=dataset_id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
    )
    status = lifecycles.DATASET.initial
    connection.execute(
        datasets.insert().values(
            id=dataset_id,
            name=request.name,
            status=status,
            format=request.format,
            source_ids=list(dict.fromkeys(request.source_ids)),
            run_id=run.id,
            created_at=now(),
        )
    )
    events.append(connection, f"dataset.{status}", dataset_id, runId=run.id)
    return get(connection, dataset_id)


def change(connection: Connection, dataset_id: str, new: DatasetStatus, **values: Any) -> None:
    """Change a dataset's status and append the event: the only place that does.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = _row(connection, dataset_id)
    lifecycles.DATASET.require(dataset_id, DatasetStatus(row.status), new)
    connection.execute(
        datasets.update().where(datasets.c.id == dataset_id).values(status=new, **values)
    )
    events.append(connection, f"dataset.{new}", dataset_id, runId=row.run_id, **values)


def generated(connection: Connection, run: Run, outcome: GenerateOutcome) -> None:
    """Apply what a build made."""
    values = outcome.model_dump(by_alias=False)
    change(connection, run.resource_id, DatasetStatus.READY, **values)


def generation_stopped(connection: Connection, run: Run, error: str, code: str) -> None:
    """A build failed or was cancelled."""
    change(connection, run.resource_id, DatasetStatus.FAILED, error=error, error_code=code)


_DATASETS = select(
    datasets,
    (datasets.c.train_count + datasets.c.validation_count).label("example_count"),
    runs.runs.c.progress,
    runs.runs.c.stage,
    runs.runs.c.metrics.label("figures"),
).join_from(datasets, runs.runs, runs.runs.c.id == datasets.c.run_id)
_ONE = _DATASETS.where(datasets.c.id == bindparam("dataset_id"))


def _row(connection: Connection, dataset_id: str) -> Row[Any]:
    row = connection.execute(_ONE, {"dataset_id": dataset_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no dataset {dataset_id}.", code="dataset_not_found")
    return row


def _dataset(row: Row[Any]) -> Dataset:
    """A row of ``_DATASETS``; while it is built, the examples that there are so far."""
    dataset = to_model(Dataset, row)
    if dataset.status is DatasetStatus.GENERATING:
        dataset.example_count = int((row.figures or {}).get("example_count") or 0)
    return dataset


@read
def get(connection: Connection, dataset_id: str) -> Dataset:
    """One dataset.

    Raises:
        NotFound: There is no such dataset.
    """
    return _dataset(_row(connection, dataset_id))


@read
def run_of(connection: Connection, dataset_id: str) -> str:
    """The run that builds or built a dataset; raises as ``get`` does."""
    return str(_row(connection, dataset_id).run_id)


@read
def page(
    connection: Connection, limit: int, offset: int, of: Sequence[str] | None = None
) -> Listing[Dataset]:
    """Datasets, newest first; only those that belong to some projects, where these are given."""
    owned = projects.owned(datasets.c.id, of)
    query = _DATASETS.where(*owned).order_by(datasets.c.id.desc()).limit(limit).offset(offset)
    items = [_dataset(row) for row in connection.execute(query)]
    number = select(func.count()).select_from(datasets).where(*owned)
    return Listing[Dataset](items=items, total=connection.execute(number).scalar_one())


class Ready(NamedTuple):
    """A dataset that can be trained on."""

    id: str
    name: str


_READY = PreparedQuery(
    select(datasets.c.name, datasets.c.status, datasets.c.train_count).where(
        datasets.c.id == bindparam("dataset_id")
    )
)


@read
def require_ready(connection: Connection, dataset_id: str) -> Ready:
    """A dataset that can be trained on.

    Raises:
        InvalidInput: There is none of this id (``unknown_dataset``).
        Conflict: It is not ready, or holds nothing to train on.
    """
    name, status, examples = _READY(connection, {"dataset_id": dataset_id}) or (None, None, 0)
    if status != DatasetStatus.READY or not examples:
        raise _not_ready(connection, dataset_id)
    return Ready(dataset_id, str(name))


def _not_ready(connection: Connection, dataset_id: str) -> AIForgeError:
    try:
        dataset = get(connection, dataset_id)
    except NotFound as error:
        return InvalidInput(
            f"{error.message} Choose one from GET /datasets.",
            code="unknown_dataset",
            field="datasetId",
            error=error.message,
        )
    if dataset.status is not DatasetStatus.READY:
        reason = f": {dataset.error}" if dataset.error else ""
        return Conflict(
            f"{dataset_id} is {dataset.status}{reason.rstrip('.')}; only a dataset that is ready "
            "can be trained on.",
            code="dataset_not_ready",
        )
    return Conflict(
        f"{dataset_id} holds no examples to train on; generate one from other sources.",
        code="dataset_empty",
    )


def generating_from(connection: Connection, source_id: str) -> Dataset | None:
    """A dataset that is being built from a source, if there is one."""
    query = _DATASETS.where(datasets.c.status == DatasetStatus.GENERATING)
    for row in connection.execute(query):
        if source_id in row.source_ids:
            return _dataset(row)
    return None


def remove(connection: Connection, dataset_id: str) -> None:
    """Delete a dataset that nothing uses; its run stays as history."""
    run = runs.open_for(connection, dataset_id)
    if run is not None:
        raise Conflict(
            f"{dataset_id} is being built by {run.id}; wait for it or cancel it.",
            code="dataset_in_use",
            runId=run.id,
        )
    connection.execute(datasets.delete().where(datasets.c.id == dataset_id))
    events.append(connection, "dataset.deleted", dataset_id)
