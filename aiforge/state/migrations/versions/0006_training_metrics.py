"""Utilization and memory of each training step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Both are null in the rows of older jobs."""
    op.add_column("metric_points", sa.Column("mfu", sa.Float()))
    op.add_column("metric_points", sa.Column("memory_bytes", sa.BigInteger()))


def downgrade() -> None:
    """What was measured is lost."""
    op.drop_column("metric_points", "memory_bytes")
    op.drop_column("metric_points", "mfu")
