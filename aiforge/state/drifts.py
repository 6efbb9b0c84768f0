"""Measurements of drift: runs that score a model on what changed since its data was read."""

from __future__ import annotations

from sqlalchemy import Connection, select

from aiforge.schemas.common import Wire, new_id
from aiforge.schemas.datasets import RaftConfig
from aiforge.schemas.drifts import Drift
from aiforge.schemas.jobs import JobConfig
from aiforge.schemas.runs import Resources, Run, RunKind
from aiforge.state import runs
from aiforge.state.ops import read, write
from aiforge.state.schema import to_model
from aiforge.state.sources import Snapshot


class DriftSpec(Wire):
    """What a run of kind ``drift`` works from, frozen when it was queued.

    ``before`` are the snapshots of the dataset ``dataset_id``, ``after`` the newest ones of the
    same sources. ``adapter_path`` is the measured model's; it may be another than the one that
    was trained on the dataset.
    """

    model_id: str
    base_model: str
    adapter_path: str
    dataset_id: str
    chunk_count: int
    before: list[Snapshot]
    after: list[Snapshot]
    raft: RaftConfig
    training: JobConfig
    min_chunks: int


@write
def create(
    connection: Connection, spec: DriftSpec, resources: Resources, request_id: str | None = None
) -> Run:
    """Queue a measurement, or find the one of the same model and revisions.

    Args:
        request_id: What it goes back to, where it is no request.
    """
    known = find(connection, spec.model_id, revisions(spec.before), revisions(spec.after))
    if known is not None:
        return known
    return runs.create(
        connection,
        id=new_id("run"),
        kind=RunKind.DRIFT,
        resource_id=spec.model_id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
        request_id=request_id,
    )


def revisions(snapshots: list[Snapshot]) -> dict[str, str]:
    """Revision by source."""
    return {snapshot.source_id: snapshot.revision for snapshot in snapshots}


@read
def find(
    connection: Connection, model_id: str, before: dict[str, str], after: dict[str, str]
) -> Run | None:
    """The newest measurement of a model between these revisions; ``None`` where there is none."""
    query = (
        select(runs.runs)
        .where(runs.runs.c.kind == RunKind.DRIFT, runs.runs.c.resource_id == model_id)
        .order_by(runs.runs.c.id.desc())
    )
    for row in connection.execute(query):
        run = to_model(Run, row)
        spec = DriftSpec.model_validate(run.spec)
        if (revisions(spec.before), revisions(spec.after)) == (before, after):
            return run
    return None


def result(run: Run) -> Drift:
    """What a completed measurement found."""
    return Drift.model_validate(run.result)
