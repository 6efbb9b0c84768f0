"""Which request a run goes back to, so that its log lines can be found by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column; runs of before have none."""
    op.add_column("runs", sa.Column("request_id", sa.String(length=128)))


def downgrade() -> None:
    """It goes."""
    op.drop_column("runs", "request_id")
