"""A fresh, migrated database per test: SQLite, and PostgreSQL where a server is named."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from aiforge.state import events
from aiforge.state.access import LocalState
from aiforge.state.store import Store

SERVER = os.environ.get("AIFORGE_TEST_DATABASE_URL")


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file without rows, to be copied."""
    path = tmp_path_factory.mktemp("template") / "aiforge.db"
    store = Store(f"sqlite:///{path}")
    store.run(events.latest)
    store.close()
    return path


@pytest.fixture
def new_sqlite(empty_sqlite: Path, tmp_path: Path) -> Callable[[], str]:
    """Gives the URL of another empty SQLite database at each call."""

    def new() -> str:
        path = tmp_path / f"{uuid.uuid4().hex}.db"
        shutil.copy(empty_sqlite, path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("new_sqlite")()
        return
    if not SERVER:
        pytest.skip("AIFORGE_TEST_DATABASE_URL names no PostgreSQL server")
    server = make_url(SERVER).set(drivername="postgresql+psycopg")
    name = f"aiforge_{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def state(database_url: str) -> Iterator[LocalState]:
    """The state on that database, in this process."""
    store = Store(database_url)
    yield LocalState(store)
    store.close()
