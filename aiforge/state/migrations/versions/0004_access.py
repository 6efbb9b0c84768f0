"""API keys, the audit trail, and which projects sources and datasets belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

_FORBID_SQLITE = """
CREATE TRIGGER audit_is_append_only_{event} BEFORE {event} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
_FORBID_POSTGRESQL = (
    """
    CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$
    """,
    """
    CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
    """,
)


def upgrade() -> None:
    """The triggers keep rows of the audit trail from being changed, whoever tries."""
    _create_keys()
    _create_audit()
    op.create_table(
        "resource_projects",
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("project_name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "project_name", name=op.f("pk_resource_projects")),
    )


def downgrade() -> None:
    """The triggers go with their table; PostgreSQL's function does not."""
    for table in ("resource_projects", "audit", "api_keys"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only")


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("projects", JSON),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.Column("last_used_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("principal", sa.String(length=200), nullable=False),
        sa.Column("principal_name", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("operation", sa.String(length=100)),
        sa.Column("resource_ids", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=100)),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index(op.f("ix_audit_principal"), "audit", ["principal"])
    if op.get_bind().dialect.name == "postgresql":
        for statement in _FORBID_POSTGRESQL:
            op.execute(statement)
    else:
        for event in ("UPDATE", "DELETE"):
            op.execute(_FORBID_SQLITE.format(event=event))
