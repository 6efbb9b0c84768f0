"""Everything about a job that a follower has not seen yet, in one read."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, select

from aiforge.schemas.common import Wire
from aiforge.schemas.jobs import Job
from aiforge.schemas.runs import Event, LogLine
from aiforge.state import events, jobs, logs
from aiforge.state.metrics import metric_points
from aiforge.state.ops import scan

MOST = 500


class JobUpdates(Wire):
    """What is new: the job itself and, oldest first, its events, log lines and metric points.

    ``complete`` is false where more is waiting than one read gives.
    """

    job: Job
    fingerprint: str
    events: list[Event]
    lines: list[LogLine]
    points: list[dict[str, Any]]
    complete: bool


@scan
def of_job(
    connection: Connection, job_id: str, sequence: int, line: int, step: int, seen: str
) -> JobUpdates | None:
    """What is new about a job; ``None`` where nothing is.

    Args:
        sequence: Of the last event that was seen.
        line: Sequence number of the last log line that was seen.
        step: The last step whose metrics were seen.
        seen: Fingerprint of the job as it was seen.

    Raises:
        NotFound: There is no such job.
    """
    job = jobs.get(connection, job_id)
    fingerprint = hashlib.sha256(job.model_dump_json().encode()).hexdigest()
    changes = events.after(connection, sequence, job_id, MOST)
    lines = logs.after(connection, job_id, line, MOST)
    points = _points(connection, job_id, step)
    if fingerprint == seen and not (changes or lines or points):
        return None
    return JobUpdates(
        job=job,
        fingerprint=fingerprint,
        events=changes,
        lines=lines,
        points=points,
        complete=max(len(changes), len(lines), len(points)) < MOST,
    )


def _points(connection: Connection, job_id: str, step: int) -> list[dict[str, Any]]:
    columns = metric_points.c
    rows = connection.execute(
        select(metric_points)
        .where(columns.run_id == job_id, columns.step > step)
        .order_by(columns.step)
        .limit(MOST)
    )
    return [
        {
            "step": row.step,
            "epoch": row.epoch,
            "loss": row.loss,
            "learningRate": row.learning_rate,
            "gradNorm": row.grad_norm,
            "tokensPerSecond": row.tokens_per_second,
            "mfu": row.mfu,
            "memoryBytes": row.memory_bytes,
            "evalLoss": row.eval_loss,
        }
        for row in rows
    ]
