"""How long active models took to answer, sample by sample, since they became active."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Float, String, Table, select

from aiforge.schemas.common import Wire
from aiforge.state.ops import read, write
from aiforge.state.schema import Moment, metadata, now

latency_samples = Table(
    "latency_samples",
    metadata,
    Column("model_id", String(64), primary_key=True),
    Column("at", Moment, primary_key=True),
    Column("milliseconds", Float, nullable=False),
)

KEPT = 200
"""Samples of a model beyond the first and last hundred tell nothing more."""


class Sample(Wire):
    """One answer: when it was asked for, and its milliseconds for each token of the answer."""

    at: datetime
    milliseconds: float


@read
def of_model(connection: Connection, model_id: str, since: datetime | None = None) -> list[Sample]:
    """The samples of a model, oldest first; only since a moment, where that is given."""
    table = latency_samples
    query = select(table.c.at, table.c.milliseconds).where(table.c.model_id == model_id)
    if since is not None:
        query = query.where(table.c.at >= since)
    rows = connection.execute(query.order_by(table.c.at))
    return [Sample(at=row.at, milliseconds=row.milliseconds) for row in rows]


@write
def add(connection: Connection, model_id: str, milliseconds: float, apart: float) -> bool:
    """Store a sample, unless the last one is less than ``apart`` seconds old; whether it was."""
    samples = of_model(connection, model_id)
    moment = now()
    if samples:
        # Two samples of one millisecond would have one key.
        moment = max(moment, samples[-1].at + timedelta(milliseconds=1))
        if moment - samples[-1].at < timedelta(seconds=apart):
            return False
    table = latency_samples
    if len(samples) >= KEPT:
        middle = samples[len(samples) // 2].at
        connection.execute(table.delete().where(table.c.model_id == model_id, table.c.at == middle))
    connection.execute(
        table.insert().values(model_id=model_id, at=moment, milliseconds=milliseconds)
    )
    return True
