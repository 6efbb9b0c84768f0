"""Artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Artifacts, and what each is about."""
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("mime_type", sa.String(length=100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("resource_ids", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.UniqueConstraint("owner_id", "name", name="uq_artifacts_owner_id_name"),
    )
    op.create_table(
        "artifact_resources",
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("artifact_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name="fk_artifact_resources_artifact_id"
        ),
        sa.PrimaryKeyConstraint("resource_id", "artifact_id", name="pk_artifact_resources"),
    )
    op.create_index("ix_artifact_resources_artifact_id", "artifact_resources", ["artifact_id"])


def downgrade() -> None:
    """Links first: they refer to artifacts."""
    op.drop_table("artifact_resources")
    op.drop_table("artifacts")
