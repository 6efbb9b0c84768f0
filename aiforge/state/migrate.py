"""Bringing a database up to the tables that this version of the platform declares."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine

from aiforge.errors import Conflict
from aiforge.state import engine as engines


def config() -> Config:
    """Alembic's configuration; the scripts lie in the package."""
    settings = Config()
    location = str(Path(__file__).parent / "migrations")
    settings.set_main_option("script_location", location.replace("%", "%%"))
    return settings


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run the migrations that are missing, all in one transaction.

    Raises:
        Conflict: The database was written by a newer version of the platform.
        Unavailable: The database does not answer.
    """
    settings = config()
    with engines.transaction(engine, writes=True) as connection:
        settings.attributes["connection"] = connection
        try:
            command.upgrade(settings, revision)
        except CommandError as error:
            raise Conflict(
                f"The database is of another version of AI Forge ({error}); upgrade AI Forge, or "
                "name another database with AIFORGE_DATABASE_URL.",
                code="state_version",
            ) from error
