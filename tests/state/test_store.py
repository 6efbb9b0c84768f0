"""One transaction per operation, once per request, and waking who waits."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from samples import NONE, add_job, add_source, new_source
from sqlalchemy import Engine, text

from aiforge.errors import Conflict, InternalError, InvalidInput, Unavailable
from aiforge.schemas.runs import RunStatus
from aiforge.state import access, applied, engine, events, jobs, migrate, runs, sources, tables
from aiforge.state.access import LocalState, idempotency_key
from aiforge.state.engine import open_engine, transaction
from aiforge.state.ops import name_of, resolve, write
from aiforge.state.store import RequestKey, Store


@write
def create_and_fail(connection: Any) -> None:
    sources.create(connection, new_source(), NONE)
    raise Conflict("changed my mind")


def test_an_operation_that_fails_leaves_nothing(state: LocalState) -> None:
    with pytest.raises(Conflict):
        state.call_sync(create_and_fail)
    assert state.call_sync(sources.page, 1, 0).total == 0
    assert state.call_sync(events.latest) == 0
    assert state.call_sync(runs.waiting) == []


def test_a_repeated_request_gives_the_first_result(state: LocalState) -> None:
    once = state.once(RequestKey("r1"))
    first = once.call_sync(sources.create, new_source(), NONE)
    again = once.call_sync(sources.create, new_source(), NONE)
    assert again == first
    assert state.call_sync(sources.page, 1, 0).total == 1


def test_a_repeated_request_gives_results_of_every_type(state: LocalState) -> None:
    job = add_job(state)
    for op, arguments in ((runs.start, (job.id,)), (runs.explain, (job.id, "x"))):
        once = state.once(RequestKey(name_of(op)))
        assert once.call_sync(op, *arguments) == once.call_sync(op, *arguments)
    assert state.call_sync(runs.get, job.id).attempt == 1


def test_a_clients_key_belongs_to_one_request(state: LocalState) -> None:
    key = idempotency_key("me", "POST /data-sources", "k", b'{"a":1}')
    first = state.once(key).call_sync(sources.create, new_source(), NONE)
    assert state.once(key).call_sync(sources.create, new_source(), NONE) == first
    other = idempotency_key("me", "POST /data-sources", "k", b'{"a":2}')
    with pytest.raises(Conflict) as reused:
        state.once(other).call_sync(sources.create, new_source(), NONE)
    assert reused.value.code == "idempotency_key_reused"
    stranger = idempotency_key("you", "POST /data-sources", "k", b'{"a":1}')
    assert state.once(stranger).call_sync(sources.create, new_source(), NONE) != first


def test_the_same_request_at_the_same_time_happens_once(state: LocalState) -> None:
    once = state.once(RequestKey("r"))
    state.call_sync(events.latest)
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda _: once.call_sync(sources.create, new_source(), NONE), range(16))
        )
    assert len({created.source_id for created in made}) == 1
    assert state.call_sync(sources.page, 1, 0).total == 1


def test_many_writers_and_readers_never_meet_a_lock(state: LocalState) -> None:
    state.call_sync(events.latest)
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(add_source, state) for _ in range(40)]
        seen = [pool.submit(state.call_sync, sources.page, 5, 0) for _ in range(40)]
        assert len({future.result().source_id for future in made}) == 40
        assert all(future.result().total <= 40 for future in seen)
    sequences = [event.sequence for event in state.call_sync(events.after, 0)]
    assert len(sequences) == 80
    assert sequences == sorted(set(sequences))


def test_old_requests_are_forgotten(state: LocalState, monkeypatch: pytest.MonkeyPatch) -> None:
    state.once(RequestKey("own")).call_sync(sources.create, new_source(), NONE)
    client = idempotency_key("me", "r", "k", b"")
    state.once(client).call_sync(sources.create, new_source(), NONE)
    assert state.call_sync(applied.purge) == 0
    monkeypatch.setattr(applied, "KEEP_OWN", -applied.KEEP_OWN)
    assert state.call_sync(applied.purge) == 1
    monkeypatch.setattr(applied, "KEEP_CLIENT", -applied.KEEP_CLIENT)
    assert state.call_sync(applied.purge) == 1


def test_a_commit_wakes_who_waits(state: LocalState) -> None:
    async def wait() -> list[Any]:
        seen = await state.call(events.latest)
        waiting = asyncio.create_task(state.wait_events(seen, 30))
        await asyncio.sleep(0)
        # A writer in another thread, as a driver or a request is.
        await asyncio.to_thread(add_source, state)
        return await waiting

    assert [event.type for event in asyncio.run(wait())][:1] == ["run.queued"]


def test_waiting_for_one_resource_is_not_disturbed_by_others(state: LocalState) -> None:
    job = add_job(state)
    reads = 0

    async def wait() -> Any:
        nonlocal reads
        seen = await state.call(events.latest)
        real = state.store.call

        async def counted(*arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            return await real(*arguments)

        state.store.call = counted  # type: ignore[method-assign]
        waiting = asyncio.create_task(state.wait_events(seen, 30, resource_id=job.id))
        for _ in range(3):
            await asyncio.to_thread(add_source, state)
        await asyncio.to_thread(state.call_sync, jobs.cancel, job.id)
        return await waiting

    found = asyncio.run(wait())
    assert [event.type for event in found] == ["job.cancelled"]
    assert reads <= 2


def test_waiting_ends_in_time(state: LocalState) -> None:
    assert asyncio.run(state.wait_events(0, 0.05)) == []


def test_only_declared_operations_are_found_by_name() -> None:
    assert resolve(name_of(runs.get)) is runs.get
    for name in (
        "os:system",
        "aiforge.state.runs:create",
        "aiforge.state.runs:nothing",
        "aiforge.statement:x",
    ):
        with pytest.raises(InternalError):
            resolve(name)


def test_migrations_give_exactly_the_declared_tables(blank_url: str) -> None:
    engine = open_engine(blank_url)
    migrate.upgrade(engine)
    migrate.upgrade(engine)
    with transaction(engine, writes=False) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert context.get_current_revision() == migrate.newest()
    assert ScriptDirectory.from_config(migrate.config()).get_current_head() == migrate.newest()
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate.upgrade(engine)
    with transaction(engine, writes=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    store = Store(database_url)
    with pytest.raises(Conflict, match="another version"):
        store.run(events.latest)
    store.close()


def test_two_processes_may_open_an_empty_database_at_once(blank_url: str) -> None:
    stores = [Store(blank_url) for _ in range(3)]
    barrier = threading.Barrier(3)

    def open_one(store: Store) -> int:
        barrier.wait()
        return store.run(events.latest)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(open_one, stores)) == [0, 0, 0]
    for store in stores:
        store.close()


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """SQLite refuses one of two that turn it to its log in the same moment, without waiting."""
    for number in range(40):
        engines = [open_engine(f"sqlite:///{tmp_path}/{number}.db") for _ in range(6)]
        barrier = threading.Barrier(len(engines))

        def open_one(found: Engine, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            with transaction(found, writes=False) as connection:
                connection.exec_driver_sql("PRAGMA user_version")

        with ThreadPoolExecutor(len(engines)) as pool:
            list(pool.map(open_one, engines))
        for found in engines:
            found.dispose()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_a_url_of_no_usable_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_engine(url)
    assert refused.value.code == "database_url_invalid"


def test_a_database_that_is_away_makes_calls_fail_and_nothing_else(tmp_path: Any) -> None:
    blocked = tmp_path / "aiforge.db"
    blocked.mkdir()
    store = Store(f"sqlite:///{blocked}")
    with pytest.raises(Unavailable) as away:
        store.run(events.latest)
    assert away.value.code == "state_unavailable"
    blocked.rmdir()
    assert store.run(events.latest) == 0
    store.close()


def test_writes_go_on_once_another_process_gives_the_file_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0)
    store = Store(f"sqlite:///{tmp_path}/state.db")
    store.run(sources.create, (new_source(), NONE))
    with sqlite3.connect(tmp_path / "state.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            store.run(sources.create, (new_source(), NONE))
        other.execute("ROLLBACK")
    store.run(sources.create, (new_source(), NONE))
    assert store.run(sources.page, (1, 0)).total == 2
    store.close()
    other.close()


def test_acknowledged_writes_are_on_disk(database_url: str) -> None:
    if database_url.startswith("postgresql"):
        pytest.skip("the server's own settings decide")
    engine = open_engine(database_url)
    with transaction(engine, writes=False) as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_lost_report_is_only_logged(state: LocalState, caplog: pytest.LogCaptureFixture) -> None:
    job = add_job(state)
    state.send(runs.record, job.id, 7, runs.Report(progress=1))
    assert "was not stored" in caplog.text
    state.call_sync(runs.start, job.id)
    state.send(runs.record, job.id, 1, runs.Report(progress=10))
    assert state.call_sync(jobs.get, job.id).progress == 10
    assert state.call_sync(jobs.get, job.id).status is RunStatus.RUNNING


def test_the_interface_is_what_others_build_on() -> None:
    public = {name for name in vars(access.State) if not name.startswith("_")}
    ops = {"call", "call_sync", "send", "wait", "wait_events", "once", "on_behalf", "probe"}
    assert public == ops
