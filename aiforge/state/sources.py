"""Data sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
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

from aiforge.errors import Conflict, InvalidInput, NotFound
from aiforge.schemas.common import Listing, Wire, new_id
from aiforge.schemas.runs import Resources, Run, RunKind
from aiforge.schemas.sources import (
    Source,
    SourceCreated,
    SourceHistory,
    SourceStatus,
    SourceType,
)
from aiforge.state import events, lifecycles, projects, runs
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, to_model

RETRY_SECONDS = 86_400.0
"""Longest time after which a sync that fails is tried again, unless it is rarer by itself."""

sources = Table(
    "sources",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("type", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("url", Text),
    Column("branch", String(255)),
    Column("include_patterns", Json, nullable=False),
    Column("exclude_patterns", Json, nullable=False),
    Column("file_count", Integer, nullable=False, default=0),
    Column("skipped_count", Integer, nullable=False, default=0),
    Column("total_bytes", BigInteger, nullable=False, default=0),
    Column("revision", String(128)),
    Column("snapshot", Text),
    Column("history", Json),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("error", Text),
    Column("error_code", String(64)),
    Column("created_at", Moment, nullable=False),
    Column("last_synced_at", Moment),
    Column("sync_seconds", Integer),
    Column("sync_failures", Integer, nullable=False, default=0, server_default="0"),
    Index("ix_sources_status", "status", "id"),
)


class NewSource(Wire):
    """What a source is created from; ``id`` is given where files were stored under it already."""

    id: str
    name: str
    type: SourceType
    url: str | None = None
    branch: str | None = None
    include_patterns: list[str]
    exclude_patterns: list[str]
    sync_seconds: int | None = None


class SyncOutcome(Wire):
    """What a sync leaves behind; ``snapshot`` is relative to the storage root."""

    revision: str
    file_count: int
    skipped_count: int
    total_bytes: int
    snapshot: str
    history: SourceHistory | None = None


class DueSync(Wire):
    """A source that should be read again; ``run_id`` is the run that read it last, or tried to."""

    source_id: str
    run_id: str


class Snapshot(Wire):
    """One revision of a source that was read; ``path`` is relative to the storage root."""

    source_id: str
    revision: str
    path: str


@write
def create(connection: Connection, new: NewSource, resources: Resources) -> SourceCreated:
    """Store a source and queue the run that reads it."""
    run = _queue_sync(connection, new.id, resources)
    status = lifecycles.SOURCE.initial
    connection.execute(
        sources.insert().values(
            **new.model_dump(by_alias=False), status=status, run_id=run.id, created_at=now()
        )
    )
    events.append(connection, f"source.{status}", new.id, runId=run.id)
    return SourceCreated(source_id=new.id, parsing_job_id=run.id)


@write
def sync(
    connection: Connection, source_id: str, resources: Resources, request_id: str | None = None
) -> Run:
    """Queue a run that reads a source again.

    Args:
        request_id: What it goes back to, where it is no request.

    Raises:
        NotFound: There is no such source.
        Conflict: It is being read already.
    """
    row = _row(connection, source_id)
    if row.status == SourceStatus.SYNCING:
        raise Conflict(
            f"{source_id} is being synced by {row.run_id}; wait for it or cancel it.",
            code="source_is_syncing",
            runId=row.run_id,
        )
    run = _queue_sync(connection, source_id, resources, request_id)
    change(connection, source_id, SourceStatus.SYNCING, run_id=run.id, error=None, error_code=None)
    return run


def _queue_sync(
    connection: Connection, source_id: str, resources: Resources, request_id: str | None = None
) -> Run:
    return runs.create(
        connection,
        id=new_id("parse"),
        kind=RunKind.SYNC,
        resource_id=source_id,
        spec={},
        resources=resources,
        request_id=request_id,
    )


def change(connection: Connection, source_id: str, new: SourceStatus, **values: Any) -> None:
    """Change a source's status and append the event: the only place that does.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    row = _row(connection, source_id)
    lifecycles.SOURCE.require(source_id, SourceStatus(row.status), new)
    connection.execute(
        sources.update().where(sources.c.id == source_id).values(status=new, **values)
    )
    facts = {name: values[name] for name in ("revision", "error") if values.get(name)}
    run_id = values.get("run_id", row.run_id)
    events.append(connection, f"source.{new}", source_id, runId=run_id, **facts)


def synced(connection: Connection, run: Run, outcome: SyncOutcome) -> None:
    """Apply what a sync found."""
    change(
        connection,
        run.resource_id,
        SourceStatus.SYNCED,
        **outcome.model_dump(by_alias=False, exclude={"history"}),
        history=outcome.history and outcome.history.model_dump(mode="json"),
        last_synced_at=now(),
        sync_failures=0,
    )


def sync_stopped(connection: Connection, run: Run, error: str, code: str) -> None:
    """A sync failed or was cancelled; after a cancellation an earlier snapshot still stands."""
    row = _row(connection, run.resource_id)
    cancelled = code == "cancelled"
    if cancelled and row.snapshot is not None:
        change(connection, run.resource_id, SourceStatus.SYNCED)
        return
    change(
        connection,
        run.resource_id,
        SourceStatus.FAILED,
        error=error,
        error_code=code,
        sync_failures=row.sync_failures + (not cancelled),
    )


_SOURCES = select(sources, runs.runs.c.progress).join_from(
    sources, runs.runs, runs.runs.c.id == sources.c.run_id
)
_ONE = _SOURCES.where(sources.c.id == bindparam("source_id"))


def _row(connection: Connection, source_id: str) -> Row[Any]:
    row = connection.execute(_ONE, {"source_id": source_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no data source {source_id}.", code="source_not_found")
    return row


@read
def get(connection: Connection, source_id: str) -> Source:
    """One source.

    Raises:
        NotFound: There is no such source.
    """
    return to_model(Source, _row(connection, source_id))


@read
def page(
    connection: Connection, limit: int, offset: int, of: Sequence[str] | None = None
) -> Listing[Source]:
    """Sources, newest first; only those that belong to some projects, where these are given."""
    owned = projects.owned(sources.c.id, of)
    query = _SOURCES.where(*owned).order_by(sources.c.id.desc()).limit(limit).offset(offset)
    items = [to_model(Source, row) for row in connection.execute(query)]
    number = select(func.count()).select_from(sources).where(*owned)
    return Listing[Source](items=items, total=connection.execute(number).scalar_one())


@read
def due(connection: Connection, default_seconds: float | None, moment: datetime) -> list[DueSync]:
    """The repositories and directories whose next sync is due, the longest due first.

    The last attempt counts, and not the last success: what fails is tried again, ever more seldom.

    Args:
        default_seconds: Interval of the sources that have none of their own; never when absent.
    """
    attempted = runs.runs.c.finished_at
    own = (sources.c.id, sources.c.run_id, sources.c.sync_seconds, sources.c.sync_failures)
    query = (
        select(*own, attempted)
        .join_from(sources, runs.runs, runs.runs.c.id == sources.c.run_id)
        .where(sources.c.type != "upload", sources.c.status != SourceStatus.SYNCING)
        .where(attempted.is_not(None))
        .order_by(attempted)
    )
    found = []
    for row in connection.execute(query):
        seconds = row.sync_seconds or default_seconds
        if seconds and moment >= row.finished_at + _pause(seconds, row.sync_failures):
            found.append(DueSync(source_id=row.id, run_id=row.run_id))
    return found


def _pause(seconds: float, failures: int) -> timedelta:
    """How long after an attempt the next one is due."""
    if failures > 1:
        longest = max(seconds, RETRY_SECONDS)
        seconds = min(longest, seconds * 2.0 ** min(failures - 1, 32))
    return timedelta(seconds=seconds)


@write
def update(connection: Connection, source_id: str, sync_seconds: int | None) -> Source:
    """Change how often a source is read again by itself.

    Raises:
        NotFound: There is no such source.
        InvalidInput: It is an upload, which stays as it was sent.
    """
    if sync_seconds is not None and _row(connection, source_id).type == "upload":
        raise InvalidInput(
            f"{source_id} was uploaded, and does not change by itself; upload it again instead.",
            code="source_is_upload",
            field="syncSeconds",
            error="Must be null for an upload",
        )
    changed = sources.update().where(sources.c.id == source_id).values(sync_seconds=sync_seconds)
    connection.execute(changed)
    source = get(connection, source_id)
    events.append(connection, "source.updated", source_id, syncSeconds=sync_seconds)
    return source


@read
def snapshot(connection: Connection, source_id: str) -> Snapshot | None:
    """What was read of a source last; ``None`` where that never happened.

    Raises:
        NotFound: There is no such source.
    """
    row = _row(connection, source_id)
    if row.snapshot is None:
        return None
    return Snapshot(source_id=source_id, revision=row.revision, path=row.snapshot)


def require_snapshot(connection: Connection, source_id: str) -> Snapshot:
    """What was read of a source last, to build a dataset from.

    Raises:
        NotFound: There is no such source.
        Conflict: It was never read, or could not be read the last time.
    """
    found = snapshot(connection, source_id)
    source = get(connection, source_id)
    if found is None or source.status is SourceStatus.FAILED:
        reason = f": {source.error.rstrip('.')}" if source.error else ""
        syncing = source.status is SourceStatus.SYNCING
        remedy = "wait until it is synced" if syncing else "sync it again"
        raise Conflict(
            f"{source_id} is {source.status}{reason}; {remedy}.",
            code="source_not_synced",
            sourceId=source_id,
        )
    return found


def remove(connection: Connection, source_id: str) -> None:
    """Delete a source that nothing uses; its runs stay as history."""
    run = runs.open_for(connection, source_id)
    if run is not None:
        raise Conflict(
            f"{source_id} is being synced by {run.id}; wait for it or cancel it.",
            code="source_in_use",
            runId=run.id,
        )
    connection.execute(sources.delete().where(sources.c.id == source_id))
    events.append(connection, "source.deleted", source_id)
