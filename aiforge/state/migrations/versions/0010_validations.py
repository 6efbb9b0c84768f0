"""What a validation compares, and what its gate said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """What was measured before has no gates and no artifacts."""
    with op.batch_alter_table("validations") as table:
        table.add_column(sa.Column("run_id", sa.String(length=64)))
        table.add_column(sa.Column("active", JSON))
        table.add_column(sa.Column("policy", sa.String(length=100)))
        table.add_column(sa.Column("champion_id", sa.String(length=64)))
        for name in ("gates", "artifact_ids"):
            table.add_column(sa.Column(name, JSON, nullable=False, server_default="[]"))
    with op.batch_alter_table("validations") as table:
        for name in ("gates", "artifact_ids"):
            table.alter_column(name, server_default=None)


def downgrade() -> None:
    """Only what was measured stays."""
    with op.batch_alter_table("validations") as table:
        for name in ("artifact_ids", "gates", "champion_id", "policy", "active", "run_id"):
            table.drop_column(name)
