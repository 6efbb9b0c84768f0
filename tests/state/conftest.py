"""Databases of their own for each test: SQLite, and PostgreSQL where a server is named."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import KINDS, SERVER, PostgresServer, migrate

from aiforge.state.access import LocalState
from aiforge.state.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server, or the test is skipped."""
    if not SERVER:
        pytest.skip("AIFORGE_TEST_DATABASE_URL names no PostgreSQL server")
    server = PostgresServer(SERVER)
    yield server
    server.drop(server.template)
    server.admin.dispose()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file without rows, to be copied."""
    path = tmp_path_factory.mktemp("template") / "aiforge.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_sqlite(empty_sqlite: Path, tmp_path: Path) -> Callable[[], str]:
    """Gives the URL of another empty SQLite database at each call."""

    def new() -> str:
        path = tmp_path / f"{uuid.uuid4().hex}.db"
        shutil.copy(empty_sqlite, path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of each kind, with all tables and no rows."""
    if request.param == "sqlite":
        yield request.getfixturevalue("new_sqlite")()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create(server.template)
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture(params=KINDS)
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database of each kind without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state' / 'blank.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture
def state(database_url: str) -> Iterator[LocalState]:
    """The state on that database, in this process."""
    store = Store(database_url)
    yield LocalState(store)
    store.close()
