"""Sources remember where their last sync stands among the commits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Add the column."""
    op.add_column("sources", sa.Column("history", JSON))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("sources", "history")
