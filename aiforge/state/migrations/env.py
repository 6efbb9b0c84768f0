"""Alembic's entry: runs migrations on the connection that ``aiforge.state.migrate`` opened."""

from __future__ import annotations

from alembic import context

from aiforge.state.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter a table in place.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()
