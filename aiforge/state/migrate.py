"""Bringing a database up to the tables that this version of the platform declares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from aiforge.errors import Conflict
from aiforge.state import engine as engines

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"


def newest() -> str:
    """The revision that the newest migration leads to; files are named after theirs."""
    return max(file.name.partition("_")[0] for file in (SCRIPTS / "versions").glob("[0-9]*.py"))


def config() -> Config:
    """Alembic's configuration; the scripts lie in the package."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return settings


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, all in one transaction.

    Raises:
        Conflict: The database was written by a newer version of the platform.
        Unavailable: The database does not answer.
    """
    # To import Alembic takes longer than all else that an actor does when it comes back.
    with engines.transaction(engine, writes=False) as connection:
        if is_current(connection):
            return
    with engines.transaction(engine, writes=True) as connection:
        migrate(connection)


def is_current(connection: Connection) -> bool:
    """Whether the database has exactly the tables that this version declares."""
    return revision_of(connection) == newest()


def revision_of(connection: Connection) -> str | None:
    """Which migrations the database has been through; ``None`` before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    query = text("SELECT version_num FROM alembic_version")
    revision: str | None = connection.execute(query).scalar_one_or_none()
    return revision


def migrate(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to a revision that are missing, within the caller's transaction.

    Raises:
        Conflict: The database was written by a newer version of the platform.
    """
    from alembic import command
    from alembic.util import CommandError

    settings = config()
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, revision)
    except CommandError as error:
        raise Conflict(
            f"The database is of another version of AI Forge ({error}); upgrade AI Forge, or name "
            "another database with AIFORGE_DATABASE_URL.",
            code="state_version",
        ) from error
