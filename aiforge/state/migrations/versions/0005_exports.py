"""Exports: what was made of a job's model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """A row per export; the runs it refers to are there."""
    op.create_table(
        "exports",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("quantization", sa.String(length=16)),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("output_path", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("sha256", sa.String(length=64)),
        sa.Column("files", JSON, nullable=False),
        sa.Column("stop_tokens", JSON, nullable=False),
        sa.Column("context_length", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("error_code", sa.String(length=64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.ForeignKeyConstraint(["job_id"], ["runs.id"], name="fk_exports_job_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_exports_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
    )
    op.create_index("ix_exports_job_id", "exports", ["job_id", "id"])


def downgrade() -> None:
    """The files stay in the storage."""
    op.drop_table("exports")
