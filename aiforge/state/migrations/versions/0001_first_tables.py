"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Runs first: resources refer to them."""
    _create_runs()
    _create_reports()
    _create_sources()
    _create_datasets()
    _create_jobs()
    _create_journal()


def downgrade() -> None:
    """Everything goes, in the order that foreign keys ask for."""
    for table in (
        "applied_requests",
        "events",
        "validations",
        "jobs",
        "datasets",
        "sources",
        "metric_points",
        "run_logs",
        "run_counts",
        "runs",
    ):
        op.drop_table(table)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("stage", sa.String(length=200)),
        sa.Column("queued_reason", sa.Text()),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("resources", JSON, nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("result", JSON, nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("error_code", sa.String(length=64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("heartbeat_at", MOMENT),
        sa.Column("cancel_requested_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_kind", "runs", ["kind", "id"])
    op.create_index("ix_runs_kind_status", "runs", ["kind", "status", "id"])
    op.create_index("ix_runs_resource_id", "runs", ["resource_id", "status"])
    op.create_index("ix_runs_status", "runs", ["status", "created_at", "id"])
    op.create_table(
        "run_counts",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "status", name="pk_run_counts"),
    )


def _create_reports() -> None:
    op.create_table(
        "run_logs",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_run_logs_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "sequence", name="pk_run_logs"),
    )
    op.create_table(
        "metric_points",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Float()),
        sa.Column("loss", sa.Float()),
        sa.Column("learning_rate", sa.Float()),
        sa.Column("grad_norm", sa.Float()),
        sa.Column("tokens_per_second", sa.Float()),
        sa.Column("eval_loss", sa.Float()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_metric_points_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_metric_points"),
    )


def _create_sources() -> None:
    op.create_table(
        "sources",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("branch", sa.String(length=255)),
        sa.Column("include_patterns", JSON, nullable=False),
        sa.Column("exclude_patterns", JSON, nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=False),
        sa.Column("skipped_count", sa.Integer(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.String(length=128)),
        sa.Column("snapshot", sa.Text()),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("error_code", sa.String(length=64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_synced_at", MOMENT),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_sources_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sources"),
    )
    op.create_index("ix_sources_status", "sources", ["status", "id"])


def _create_datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("source_ids", JSON, nullable=False),
        sa.Column("train_count", sa.Integer(), nullable=False),
        sa.Column("validation_count", sa.Integer(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("quality", sa.Float()),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("error_code", sa.String(length=64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_datasets_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_status", "datasets", ["status", "id"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_name", sa.String(length=100), nullable=False),
        sa.Column("base_model", sa.String(length=500), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("dataset_name", sa.String(length=200), nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.ForeignKeyConstraint(["id"], ["runs.id"], name="fk_jobs_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_dataset_id", "jobs", ["dataset_id"])
    op.create_index("ix_jobs_project_name", "jobs", ["project_name", "id"])
    op.create_table(
        "validations",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=64)),
        sa.Column("run_at", MOMENT, nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("baseline", JSON),
        sa.Column("passed", sa.Boolean()),
        sa.ForeignKeyConstraint(["job_id"], ["runs.id"], name="fk_validations_job_id"),
        sa.PrimaryKeyConstraint("job_id", name="pk_validations"),
    )


def _create_journal() -> None:
    op.create_table(
        "events",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_resource_id", "events", ["resource_id", "sequence"])
    op.create_table(
        "applied_requests",
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=64)),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_applied_requests"),
    )
    op.create_index("ix_applied_requests_at", "applied_requests", ["at"])
