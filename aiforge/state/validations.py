"""Measured quality of what a job trained, beside the base model's."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Connection, ForeignKey, String, Table, select

from aiforge.errors import NotFound
from aiforge.schemas.jobs import Validation
from aiforge.state.ops import read
from aiforge.state.schema import Json, Moment, metadata, to_model, upsert

validations = Table(
    "validations",
    metadata,
    Column("job_id", ForeignKey("runs.id"), primary_key=True),
    Column("model_id", String(64)),
    Column("run_at", Moment, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("baseline", Json),
    Column("passed", Boolean),
)


def record(connection: Connection, validation: Validation) -> None:
    """Store what was measured of a job, in the place of what was measured before."""
    row = validation.model_dump(by_alias=False)
    upsert(connection, validations, [row])


@read
def get(connection: Connection, job_id: str) -> Validation:
    """What was measured of a job.

    Raises:
        NotFound: Nothing was measured of it yet.
    """
    row = connection.execute(
        select(validations).where(validations.c.job_id == job_id)
    ).one_or_none()
    if row is None:
        raise NotFound(
            f"Nothing was measured of {job_id} yet; its validation follows its training.",
            code="validation_not_found",
        )
    return to_model(Validation, row)
