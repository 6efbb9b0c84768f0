"""A backup holds the whole state, checks itself, and is restored on either database."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from rows import content, fill
from samples import add_source
from servers import KINDS, PostgresServer
from sqlalchemy import text

from aiforge.errors import Conflict, InvalidInput, Unavailable
from aiforge.state import backup, events, migrate, sources
from aiforge.state.access import LocalState
from aiforge.state.backup import back_up, restore
from aiforge.state.engine import open_engine, transaction
from aiforge.state.store import Store

REVISIONS = sorted(
    script.revision for script in ScriptDirectory.from_config(migrate.config()).walk_revisions()
)


@pytest.fixture(params=KINDS)
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a second database of each kind, without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'other' / 'other.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url_of(name)
    server.drop(name)


def with_rows(url: str, revision: str = "head", rows: int = 7) -> dict[str, Any]:
    """Bring a database to a revision and put rows into all of its tables."""
    engine = open_engine(url)
    with transaction(engine, writes=True) as connection:
        migrate.migrate(connection, revision)
        fill(connection, rows)
    found = everything(url)
    engine.dispose()
    return found


def everything(url: str) -> dict[str, Any]:
    engine = open_engine(url)
    with transaction(engine, writes=False) as connection:
        found = content(connection)
    engine.dispose()
    return found


def test_a_restored_state_has_every_row(
    database_url: str, other_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "BATCH", 5)
    before = with_rows(database_url, rows=13)
    made = back_up(database_url, tmp_path / "state.backup")

    restored = restore(other_url, tmp_path / "state.backup")

    assert everything(other_url) == before
    assert restored == made
    assert made.rows == 13 * len(before)
    assert made.tables == len(before)


def test_a_restored_state_goes_on(database_url: str, other_url: str, tmp_path: Path) -> None:
    state = LocalState(Store(database_url))
    first = add_source(state)
    last = state.call_sync(events.latest)
    with transaction(state.store._engine, writes=True) as connection:
        connection.execute(text("DELETE FROM events"))
    state.store.close()
    back_up(database_url, tmp_path / "state.backup")
    restore(other_url, tmp_path / "state.backup")

    again = LocalState(Store(other_url))
    second = add_source(again)

    found = {one.id for one in again.call_sync(sources.page, 9, 0).items}
    assert found == {first.source_id, second.source_id}
    # Numbers of events that are gone do not return: clients resume after the last they saw.
    assert again.call_sync(events.after, last)
    again.store.close()


@pytest.mark.parametrize("revision", [REVISIONS[0], REVISIONS[-2]])
def test_a_backup_of_an_older_version_is_brought_up_to_date(
    blank_url: str, revision: str, tmp_path: Path
) -> None:
    before = with_rows(blank_url, revision)
    made = back_up(blank_url, tmp_path / "state.backup")

    restore(blank_url, tmp_path / "state.backup", replace=True)

    assert made.revision == revision
    assert_kept(before, everything(blank_url))


def test_migrations_keep_what_databases_of_every_revision_hold(blank_url: str) -> None:
    """Rows are added at each revision, so that all of them go through all later migrations."""
    engine = open_engine(blank_url)
    for number, revision in enumerate(REVISIONS):
        before = everything(blank_url) if number else {}
        with transaction(engine, writes=True) as connection:
            migrate.migrate(connection, revision)
        assert_kept(before, everything(blank_url))
        with transaction(engine, writes=True) as connection:
            fill(connection, 3, first=number * 3)
    with transaction(engine, writes=False) as connection:
        assert migrate.is_current(connection)
        if connection.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    engine.dispose()
    store = Store(blank_url)
    assert add_source(LocalState(store))
    store.close()


def assert_kept(before: dict[str, Any], after: dict[str, Any]) -> None:
    for table, rows in before.items():
        assert len(after[table]) == len(rows), table
        for old, new in zip(rows, after[table], strict=True):
            kept = old.keys() & new.keys()
            assert {name: new[name] for name in kept} == {name: old[name] for name in kept}, table


def test_a_state_is_not_overwritten_by_accident(database_url: str, tmp_path: Path) -> None:
    with_rows(database_url, rows=3)
    back_up(database_url, tmp_path / "state.backup")
    engine = open_engine(database_url)
    with transaction(engine, writes=True) as connection:
        connection.execute(text("DELETE FROM locks"))
    engine.dispose()
    before = everything(database_url)

    with pytest.raises(Conflict, match="--replace") as refused:
        restore(database_url, tmp_path / "state.backup")

    assert refused.value.code == "state_not_empty"
    assert everything(database_url) == before
    restore(database_url, tmp_path / "state.backup", replace=True)
    assert len(everything(database_url)["locks"]) == 3


def test_a_backup_of_a_newer_version_is_refused(
    new_sqlite: Callable[[], str], tmp_path: Path
) -> None:
    url = new_sqlite()
    engine = open_engine(url)
    with transaction(engine, writes=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    back_up(url, tmp_path / "state.backup")

    with pytest.raises(Conflict) as refused:
        restore(url, tmp_path / "state.backup", replace=True)

    assert refused.value.code == "backup_too_new"


def test_a_damaged_file_is_refused_before_anything_changes(
    new_sqlite: Callable[[], str], tmp_path: Path
) -> None:
    url, path = new_sqlite(), tmp_path / "state.backup"
    before = with_rows(url)
    back_up(url, path)
    whole = path.read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    damaged = [
        whole[: len(whole) // 2],
        whole[:-3],
        b"",
        b"no backup at all",
        gzip.compress(b"".join(lines[:-1])),
        gzip.compress(b"".join(lines[:5] + lines[6:])),
        gzip.compress(b"".join(lines).replace(b"locks", b"lucks")),
        gzip.compress(b"".join(lines[-1:])),
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(InvalidInput) as refused:
            restore(url, path, replace=True)
        assert refused.value.code == "backup_broken"
    assert everything(url) == before
    with pytest.raises(InvalidInput):
        restore(url, tmp_path / "none", replace=True)


def test_a_backup_is_of_one_moment_while_others_write(database_url: str, tmp_path: Path) -> None:
    """Each source comes with its run and its event; a backup has all three or none."""
    state = LocalState(Store(database_url))
    add_source(state)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            add_source(state)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        paths = [tmp_path / f"{number}.backup" for number in range(3)]
        for path in paths:
            back_up(database_url, path)
    finally:
        over.set()
        writer.join()
        state.store.close()
    seen = []
    for path in paths:
        restore(f"sqlite:///{tmp_path / path.stem}.db", path)
        rows = everything(f"sqlite:///{tmp_path / path.stem}.db")
        assert len(rows["sources"]) == len(rows["runs"])
        assert {row["resource_id"] for row in rows["runs"]} == {
            row["id"] for row in rows["sources"]
        }
        assert {row["id"] for row in rows["sources"]} <= {r["resource_id"] for r in rows["events"]}
        seen.append(len(rows["sources"]))
    assert seen == sorted(seen)


def test_a_backup_is_private_and_whole_or_absent(
    new_sqlite: Callable[[], str], tmp_path: Path
) -> None:
    path = tmp_path / "backups" / "state.backup"
    back_up(new_sqlite(), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(Unavailable):
        back_up(f"sqlite:///{tmp_path / 'none.db'}", path)
    with pytest.raises(InvalidInput):
        back_up(new_sqlite(), path / "below-a-file")
    assert os.listdir(path.parent) == [path.name]
