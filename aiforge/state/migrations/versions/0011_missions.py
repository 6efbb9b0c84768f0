"""Missions, the policy of each project, and how long active models took to answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("status = 'pending_approval'")


def upgrade() -> None:
    """The tables, and the index that keeps a watcher from having two open missions."""
    op.create_table(
        "missions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_name", sa.String(length=100), nullable=False),
        sa.Column("watcher", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("priority", sa.String(length=8), nullable=False),
        sa.Column("confidence", sa.Integer(), nullable=False),
        sa.Column("magnitude", sa.Float(), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("reasoning", JSON, nullable=False),
        sa.Column("action", JSON, nullable=False),
        sa.Column("expects", JSON, nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("related", JSON, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("decision", JSON),
        sa.Column("execution", JSON),
        sa.Column("execution_status", sa.String(length=16)),
        sa.Column("outcome", JSON),
        sa.Column("superseded_because", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("decided_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_missions"),
    )
    op.create_index("ix_missions_status", "missions", ["status", "id"])
    op.create_index("ix_missions_project_name", "missions", ["project_name", "watcher", "id"])
    op.create_index("ix_missions_execution_status", "missions", ["execution_status"])
    op.create_index(
        "uq_missions_open",
        "missions",
        ["project_name", "watcher"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_table(
        "mission_policies",
        sa.Column("project_name", sa.String(length=100), nullable=False),
        sa.Column("policy", JSON, nullable=False),
        sa.Column("updated_by", sa.String(length=200), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("project_name", name="pk_mission_policies"),
    )
    op.create_table(
        "latency_samples",
        sa.Column("model_id", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("milliseconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "at", name="pk_latency_samples"),
    )


def downgrade() -> None:
    """All three tables go."""
    op.drop_table("latency_samples")
    op.drop_table("mission_policies")
    op.drop_table("missions")
