"""Runs: one queue, one lifecycle and one shape for all long work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    select,
)

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.common import Wire
from aiforge.schemas.runs import LogLine, MetricPoint, Resources, Run, RunKind, RunStatus
from aiforge.state import counts, events, lifecycles, logs, metrics
from aiforge.state.ops import read, write
from aiforge.state.prepared import Prepared
from aiforge.state.schema import Json, Moment, finite, metadata, now, to_model

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("resource_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("progress", Float, nullable=False),
    Column("stage", String(200)),
    Column("queued_reason", Text),
    Column("spec", Json, nullable=False),
    Column("resources", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("result", Json, nullable=False),
    Column("error", Text),
    Column("error_code", String(64)),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("heartbeat_at", Moment),
    Column("cancel_requested_at", Moment),
    Column("request_id", String(128)),
    Index("ix_runs_kind", "kind", "id"),
    Index("ix_runs_kind_status", "kind", "status", "id"),
    Index("ix_runs_status", "status", "created_at", "id"),
    Index("ix_runs_resource_id", "resource_id", "status"),
)

_ONE = select(runs).where(runs.c.id == bindparam("run_id"))

OPEN = tuple(lifecycles.RUN.open)
ACTIVE = (RunStatus.RUNNING, RunStatus.CANCELLING)


class Report(Wire):
    """What a run tells about itself since it last did; ``progress`` is 0 to 100."""

    logs: list[LogLine] = Field(default_factory=list)
    points: list[MetricPoint] = Field(default_factory=list)
    progress: float | None = None
    stage: str | None = None
    figures: dict[str, Any] = Field(default_factory=dict)


def create(
    connection: Connection,
    *,
    id: str,
    kind: RunKind,
    resource_id: str,
    spec: Mapping[str, Any],
    resources: Resources,
    request_id: str | None = None,
) -> Run:
    """Queue a run, in the transaction that creates or changes its resource.

    Args:
        request_id: Of the request that it goes back to, where the transaction serves none itself.
    """
    run = Run(
        id=id,
        kind=kind,
        resource_id=resource_id,
        status=lifecycles.RUN.initial,
        spec=dict(spec),
        resources=resources,
        created_at=now(),
        request_id=connection.info.get(events.REQUEST) or request_id,
    )
    row = {name: getattr(run, name) for name in _FACTS}
    stored = {"resources": resources.model_dump(by_alias=False), "metrics": {}, "result": {}}
    _INSERT(connection, row | stored)
    counts.move(connection, kind, None, run.status)
    events.append(connection, _event(run), id, **_facts(run))
    return run


_FACTS = (
    *("id", "kind", "resource_id", "status", "attempt", "progress", "spec", "created_at"),
    "request_id",
)
_INSERT = Prepared(runs.insert(), (*_FACTS, "resources", "metrics", "result"))


def change(connection: Connection, run: Run, new: RunStatus, **values: Any) -> Run:
    """Change a run's status, count it anew and append the event: the only place that does.

    Raises:
        Conflict: The lifecycle does not have this step.
    """
    lifecycles.RUN.require(run.id, run.status, new)
    if new in lifecycles.RUN.terminal:
        values |= {"finished_at": now(), "queued_reason": None}
    connection.execute(runs.update().where(runs.c.id == run.id).values(status=new, **values))
    counts.move(connection, run.kind, run.status, new)
    changed = get(connection, run.id)
    events.append(connection, _event(changed), run.id, **_facts(changed))
    return changed


def _event(run: Run) -> str:
    noun = "job" if run.kind is RunKind.TRAIN else "run"
    return f"{noun}.{run.status}"


def _facts(run: Run) -> dict[str, Any]:
    facts = {"kind": run.kind, "resourceId": run.resource_id, "attempt": run.attempt}
    if run.error_code:
        facts |= {"error": run.error, "errorCode": run.error_code}
    return facts


@read
def get(connection: Connection, run_id: str) -> Run:
    """One run.

    Raises:
        NotFound: There is no such run.
    """
    row = connection.execute(_ONE, {"run_id": run_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run_id}.", code="run_not_found")
    return to_model(Run, row)


@read
def ended(connection: Connection, run_id: str) -> Run | None:
    """A run once it has ended, ``None`` before; raises ``NotFound`` as ``get`` does."""
    run = get(connection, run_id)
    return run if run.status in lifecycles.RUN.terminal else None


@read
def waiting(connection: Connection, limit: int = 100) -> list[Run]:
    """The runs in the queue, oldest first."""
    return _in_order(connection, (RunStatus.QUEUED,), limit)


@read
def active(connection: Connection) -> list[Run]:
    """The runs that a driver should be at work on, oldest first."""
    return _in_order(connection, ACTIVE, None)


def _in_order(
    connection: Connection, statuses: Sequence[RunStatus], limit: int | None
) -> list[Run]:
    query = select(runs).where(runs.c.status.in_(statuses))
    rows = connection.execute(query.order_by(runs.c.created_at, runs.c.id).limit(limit))
    return [to_model(Run, row) for row in rows]


def open_for(connection: Connection, resource_id: str) -> Run | None:
    """The run that is still under way for a resource, if there is one."""
    query = select(runs).where(runs.c.resource_id == resource_id, runs.c.status.in_(OPEN))
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else to_model(Run, row)


@write
def explain(connection: Connection, run_id: str, reason: str) -> None:
    """Say why a run waits."""
    connection.execute(
        runs.update()
        .where(runs.c.id == run_id, runs.c.status == RunStatus.QUEUED)
        .values(queued_reason=reason)
    )
    events.touch(connection, run_id)


@write
def start(connection: Connection, run_id: str) -> Run:
    """Take a run from the queue for its first attempt.

    Raises:
        Conflict: The run does not wait any more.
    """
    moment = now()
    return change(
        connection,
        get(connection, run_id),
        RunStatus.RUNNING,
        attempt=1,
        queued_reason=None,
        started_at=moment,
        heartbeat_at=moment,
    )


@write
def heartbeat(connection: Connection, run_id: str, attempt: int) -> Run:
    """Note that an attempt is alive.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    require_attempt(connection, run_id, attempt)
    connection.execute(runs.update().where(runs.c.id == run_id).values(heartbeat_at=now()))
    return get(connection, run_id)


@write
def record(connection: Connection, run_id: str, attempt: int, report: Report) -> RunStatus:
    """Store what an attempt reports, and return the run's status.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    run = require_attempt(connection, run_id, attempt)
    logs.append(connection, run_id, report.logs)
    metrics.record(connection, run_id, attempt, report.points)
    values: dict[str, Any] = {}
    if report.progress is not None:
        values["progress"] = min(100.0, max(0.0, round(report.progress, 2)))
    if report.stage is not None:
        values["stage"] = report.stage[:200]
    figures = _latest(report.points) | _storable(report.figures)
    if figures:
        known = connection.execute(select(runs.c.metrics).where(runs.c.id == run_id)).scalar_one()
        values["metrics"] = known | figures
    if values:
        connection.execute(runs.update().where(runs.c.id == run_id).values(**values))
        events.touch(connection, run_id)
    return run.status


def require_attempt(connection: Connection, run_id: str, attempt: int) -> Run:
    """The run, if this attempt may still write about it.

    Raises:
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    run = get(connection, run_id)
    if run.attempt != attempt or run.status not in ACTIVE:
        raise Conflict(
            f"Attempt {attempt} of {run_id} is over; the run is {run.status} "
            f"in attempt {run.attempt}.",
            code="stale_attempt",
        )
    return run


def _latest(points: Sequence[MetricPoint]) -> dict[str, Any]:
    if not points:
        return {}
    point = max(points, key=lambda point: point.step)
    return {
        "loss": finite(point.loss),
        "current_step": point.step,
        "current_epoch": max(1, math.ceil(finite(point.epoch) or 0)),
        "learning_rate": finite(point.learning_rate),
        "grad_norm": finite(point.grad_norm),
        "tokens_per_second": finite(point.tokens_per_second),
        "mfu": finite(point.mfu),
        "memory_bytes": point.memory_bytes,
    } | ({} if point.eval_loss is None else {"eval_loss": finite(point.eval_loss)})


def _storable(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: finite(value) if isinstance(value, float) else value
        for name, value in figures.items()
    }
