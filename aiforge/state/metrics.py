"""Training metrics: one row per step of a run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, Float, ForeignKey, Integer, Table, select

from aiforge.schemas.jobs import JobMetricsHistory
from aiforge.schemas.runs import MetricPoint
from aiforge.state.events import touch
from aiforge.state.ops import scan
from aiforge.state.schema import finite, metadata, upsert

metric_points = Table(
    "metric_points",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Float),
    # A loss that diverged is stored as NULL: neither JSON nor SQLite has a NaN.
    Column("loss", Float),
    Column("learning_rate", Float),
    Column("grad_norm", Float),
    Column("tokens_per_second", Float),
    Column("eval_loss", Float),
    Column("mfu", Float),
    Column("memory_bytes", BigInteger),
)


def record(
    connection: Connection, run_id: str, attempt: int, points: Sequence[MetricPoint]
) -> None:
    """Store points; a step that was measured before is replaced, unless by a later attempt."""
    by_step = {point.step: point for point in points}
    rows = [
        {
            "run_id": run_id,
            "step": point.step,
            "attempt": attempt,
            "epoch": finite(point.epoch),
            "loss": finite(point.loss),
            "learning_rate": finite(point.learning_rate),
            "grad_norm": finite(point.grad_norm),
            "tokens_per_second": finite(point.tokens_per_second),
            "eval_loss": finite(point.eval_loss),
            "mfu": finite(point.mfu),
            "memory_bytes": point.memory_bytes,
        }
        for point in by_step.values()
    ]
    upsert(connection, metric_points, rows, newest="attempt")
    if rows:
        touch(connection, run_id)


@scan
def history(connection: Connection, run_id: str, after_step: int = -1) -> JobMetricsHistory:
    """The curves of a run as parallel lists, by step; only steps beyond ``after_step``."""
    columns = metric_points.c
    rows = connection.execute(
        select(
            columns.step,
            columns.loss,
            columns.learning_rate,
            columns.grad_norm,
            columns.tokens_per_second,
            columns.eval_loss,
            columns.mfu,
            columns.memory_bytes,
        )
        .where(columns.run_id == run_id, columns.step > after_step)
        .order_by(columns.step)
    ).all()
    return JobMetricsHistory(
        steps=[row.step for row in rows],
        losses=[row.loss for row in rows],
        learning_rates=[row.learning_rate for row in rows],
        grad_norms=[row.grad_norm for row in rows],
        tokens_per_second=[row.tokens_per_second for row in rows],
        eval_losses=[row.eval_loss for row in rows],
        mfu=[row.mfu for row in rows],
        memory_bytes=[row.memory_bytes for row in rows],
    )
