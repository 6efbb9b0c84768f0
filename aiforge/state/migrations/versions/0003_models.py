"""The model registry: versions, and what was done to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Models first: their history refers to them."""
    _create_models()
    _create_model_changes()


def downgrade() -> None:
    """Both go, in the order that the foreign key asks for."""
    op.drop_table("model_changes")
    op.drop_table("models")


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("project_name", sa.String(length=100), nullable=False),
        sa.Column("repository", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("base_model", sa.String(length=500), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("engine", sa.String(length=16)),
        sa.Column("digest", sa.String(length=80)),
        sa.Column("error", sa.Text()),
        sa.Column("error_code", sa.String(length=64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("deployed_at", MOMENT),
        sa.Column("activated_at", MOMENT),
        sa.Column("deleted_at", MOMENT),
        sa.ForeignKeyConstraint(["job_id"], ["runs.id"], name="fk_models_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("job_id", name="uq_models_job_id"),
        sa.UniqueConstraint("project_name", "version", name="uq_models_project_name_version"),
    )
    op.create_index("ix_models_status", "models", ["status", "id"])
    op.create_index("ix_models_repository", "models", ["repository"])
    op.create_index(
        "uq_models_active",
        "models",
        ["project_name"],
        unique=True,
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    )


def _create_model_changes() -> None:
    op.create_table(
        "model_changes",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.String(length=64), nullable=False),
        sa.Column("previous_model_id", sa.String(length=64)),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("run_id", sa.String(length=64)),
        sa.Column("detail", JSON, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_changes_model_id"),
        sa.PrimaryKeyConstraint("sequence", name="pk_model_changes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_model_changes_model_id", "model_changes", ["model_id", "sequence"])
    op.create_index("ix_model_changes_previous_model_id", "model_changes", ["previous_model_id"])
