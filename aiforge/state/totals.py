"""What the metrics of the platform say, derived from the database: it survives every restart.

Each function gives samples of one family of metrics; no label is an id or a name that a user
chose, so that their number has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Select, func, select

from aiforge.schemas.common import Wire
from aiforge.schemas.datasets import DatasetStatus
from aiforge.schemas.exports import ExportStatus
from aiforge.schemas.runs import RunKind, RunStatus
from aiforge.schemas.webhooks import DeliveryStatus, WebhookStatus
from aiforge.state import events
from aiforge.state.counts import run_counts
from aiforge.state.datasets import datasets
from aiforge.state.deliveries import deliveries
from aiforge.state.exports import exports
from aiforge.state.metrics import metric_points
from aiforge.state.missions import missions
from aiforge.state.models import model_changes, models
from aiforge.state.ops import scan
from aiforge.state.runs import runs
from aiforge.state.schema import in_utc, now
from aiforge.state.webhooks import webhooks

ENDED = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
RECENT_RUNS = 200
"""Runs of each kind that durations are measured over; all of them would be read at each look."""

NEWEST = 50
"""Datasets and exports whose reports are looked at."""


class Sample(Wire):
    """One value of one metric; ``labels`` as names and values."""

    metric: str
    value: float
    labels: dict[str, str] = Field(default_factory=dict)


class Totals(Wire):
    """What the database says now, and whose reports on the storage say more."""

    samples: list[Sample]
    ready_datasets: list[str]
    completed_exports: list[str]


@scan
def collect(connection: Connection) -> Totals:
    """All samples; the ids of the newest ready datasets and completed exports, newest first."""
    samples = [
        *_runs(connection),
        *_queue(connection),
        *_durations(connection),
        *_training(connection),
        *_grouped(connection, "aiforge_datasets", datasets.c.status),
        *_grouped(connection, "aiforge_exports", exports.c.status),
        *_grouped(connection, "aiforge_missions", missions.c.type, missions.c.status),
        *_grouped(connection, "aiforge_model_changes_total", model_changes.c.action),
        *_models(connection),
        *_webhooks(connection),
    ]
    return Totals(
        samples=samples,
        ready_datasets=_newest(connection, datasets, DatasetStatus.READY),
        completed_exports=_newest(connection, exports, ExportStatus.COMPLETED),
    )


def _runs(connection: Connection) -> Iterator[Sample]:
    counts = {(row.kind, row.status): row.number for row in connection.execute(select(run_counts))}
    for kind in RunKind:
        for status in RunStatus:
            labels = {"kind": kind.value}
            number = float(counts.get((kind, status), 0))
            if status in ENDED:
                outcome = labels | {"outcome": status.value}
                yield Sample(metric="aiforge_runs_ended_total", value=number, labels=outcome)
            else:
                open_ = labels | {"status": status.value}
                yield Sample(metric="aiforge_runs", value=number, labels=open_)


def _queue(connection: Connection) -> Iterator[Sample]:
    oldest = select(func.min(runs.c.created_at)).where(runs.c.status == RunStatus.QUEUED)
    yield Sample(
        metric="aiforge_queue_oldest_seconds",
        value=_seconds_since(connection.execute(oldest).scalar()),
    )


def _durations(connection: Connection) -> Iterator[Sample]:
    """Medians rather than means: one training of a day would hide a hundred of a minute."""
    for kind in RunKind:
        found = connection.execute(
            select(runs.c.created_at, runs.c.started_at, runs.c.finished_at)
            .where(runs.c.kind == kind, runs.c.status == RunStatus.COMPLETED)
            .order_by(runs.c.id.desc())
            .limit(RECENT_RUNS)
        ).all()
        took = [(row.finished_at - row.started_at).total_seconds() for row in found]
        waited = [(row.started_at - row.created_at).total_seconds() for row in found]
        for metric, values in (
            ("aiforge_run_duration_seconds", took),
            ("aiforge_run_wait_seconds", waited),
        ):
            if values:
                middle = sorted(values)[len(values) // 2]
                yield Sample(metric=metric, value=middle, labels={"kind": kind.value})


def _training(connection: Connection) -> Iterator[Sample]:
    """The last step of the job that reported last: one curve, however many jobs there were."""
    columns = metric_points.c
    reported = select(columns.run_id).where(columns.run_id == runs.c.id).exists()
    job = connection.execute(
        select(runs.c.id)
        .where(runs.c.kind == RunKind.TRAIN, reported)
        .order_by(runs.c.heartbeat_at.desc().nulls_last())
        .limit(1)
    ).scalar()
    row = connection.execute(
        select(metric_points).where(columns.run_id == job).order_by(columns.step.desc()).limit(1)
    ).first()
    if row is None:
        return
    figures = {
        "aiforge_training_step": row.step,
        "aiforge_training_loss": row.loss,
        "aiforge_training_grad_norm": row.grad_norm,
        "aiforge_training_tokens_per_second": row.tokens_per_second,
        "aiforge_training_memory_bytes": row.memory_bytes,
        "aiforge_training_mfu_ratio": row.mfu,
    }
    for metric, value in figures.items():
        if value is not None:
            yield Sample(metric=metric, value=float(value))


def _models(connection: Connection) -> Iterator[Sample]:
    number = func.count()
    there = select(models.c.status, number).where(models.c.deleted_at.is_(None))
    for status, count in connection.execute(there.group_by(models.c.status)):
        yield Sample(metric="aiforge_models", value=float(count), labels={"status": status})


def _webhooks(connection: Connection) -> Iterator[Sample]:
    counts = dict.fromkeys(DeliveryStatus, 0.0)
    counted = select(deliveries.c.status, func.count()).group_by(deliveries.c.status)
    counts |= {row[0]: float(row[1]) for row in connection.execute(counted)}
    for status, number in counts.items():
        labels = {"status": str(status)}
        yield Sample(metric="aiforge_webhook_deliveries", value=number, labels=labels)
    pending = deliveries.c.status == DeliveryStatus.PENDING
    oldest = connection.execute(select(func.min(deliveries.c.created_at)).where(pending)).scalar()
    yield Sample(metric="aiforge_webhook_lag_seconds", value=_seconds_since(oldest))
    newest = select(func.coalesce(func.max(events.events.c.sequence), 0))
    behind = select(func.min(webhooks.c.cursor)).where(webhooks.c.status == WebhookStatus.ACTIVE)
    total = float(connection.execute(newest).scalar_one())
    cursor = connection.execute(behind).scalar()
    yield Sample(metric="aiforge_events_total", value=total)
    unread = 0.0 if cursor is None else total - float(cursor)
    yield Sample(metric="aiforge_webhook_unread_events", value=unread)


def _grouped(connection: Connection, metric: str, *columns: Any) -> Iterator[Sample]:
    query: Select[Any] = select(*columns, func.count()).group_by(*columns)
    for *values, number in connection.execute(query):
        labels = {column.key: value for column, value in zip(columns, values, strict=True)}
        yield Sample(metric=metric, value=float(number), labels=labels)


def _newest(connection: Connection, table: Any, status: str) -> list[str]:
    query = select(table.c.id).where(table.c.status == status)
    return list(connection.execute(query.order_by(table.c.id.desc()).limit(NEWEST)).scalars())


def _seconds_since(moment: datetime | str | None) -> float:
    found = in_utc(moment)
    return 0.0 if found is None else max(0.0, (now() - found).total_seconds())
