"""Sources say how often they are read again, and how often that failed in a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("sources", sa.Column("sync_seconds", sa.Integer()))
    op.add_column(
        "sources", sa.Column("sync_failures", sa.Integer(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Remove the columns."""
    op.drop_column("sources", "sync_failures")
    op.drop_column("sources", "sync_seconds")
