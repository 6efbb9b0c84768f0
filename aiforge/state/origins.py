"""What a job was trained on, and what its sources hold now."""

from __future__ import annotations

from sqlalchemy import Connection, select

from aiforge.schemas.common import Wire
from aiforge.state import datasets, runs, sources
from aiforge.state.datasets import GenerateSpec
from aiforge.state.jobs import TrainSpec
from aiforge.state.ops import read
from aiforge.state.sources import Snapshot


class Origin(Wire):
    """The requests that led to a model, and the snapshots before and now.

    ``moved`` gives, for each source whose newest snapshot is another, its old and new revision.
    """

    dataset_id: str
    dataset_name: str
    chunk_count: int
    train: TrainSpec
    generate: GenerateSpec
    before: list[Snapshot]
    after: list[Snapshot]
    moved: dict[str, tuple[str, str]]


@read
def of_job(connection: Connection, job_id: str) -> Origin | None:
    """Where a job's model comes from; ``None`` where its dataset or a source of it is gone."""
    train = TrainSpec.model_validate(runs.get(connection, job_id).spec)
    table = datasets.datasets
    row = connection.execute(
        select(*table.c["run_id", "name", "chunk_count"]).where(table.c.id == train.dataset_id)
    ).one_or_none()
    if row is None:
        return None
    generate = GenerateSpec.model_validate(runs.get(connection, row.run_id).spec)
    after = [_now(connection, snapshot.source_id) for snapshot in generate.snapshots]
    present = [snapshot for snapshot in after if snapshot is not None]
    if len(present) < len(after):
        return None
    pairs = zip(generate.snapshots, present, strict=True)
    return Origin(
        dataset_id=train.dataset_id,
        dataset_name=row.name,
        chunk_count=row.chunk_count,
        train=train,
        generate=generate,
        before=generate.snapshots,
        after=present,
        moved={
            old.source_id: (old.revision, new.revision)
            for old, new in pairs
            if old.revision != new.revision
        },
    )


def _now(connection: Connection, source_id: str) -> Snapshot | None:
    table = sources.sources
    row = connection.execute(
        select(*table.c["revision", "snapshot"]).where(table.c.id == source_id)
    ).one_or_none()
    if row is None or row.snapshot is None:
        return None
    return Snapshot(source_id=source_id, revision=row.revision, path=row.snapshot)
