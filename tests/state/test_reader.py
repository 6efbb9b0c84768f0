"""Reads beside the writer see every acknowledged write, and change nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from samples import NONE, TRAINED, add_job, add_ready_dataset, finish, new_source, point
from sqlalchemy.exc import DBAPIError

from aiforge.errors import AIForgeError, NotFound, Unavailable
from aiforge.schemas.runs import RunStatus
from aiforge.state import events, jobs, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.ops import read, repeatable, scan
from aiforge.state.reader import Reader, ReadingState
from aiforge.state.store import RequestKey


@pytest.fixture
def reading(state: LocalState, database_url: str) -> Iterator[ReadingState]:
    """The state of ``state``, as an API replica has it."""
    reader = Reader(database_url)
    yield ReadingState(state, reader)
    reader.close()


@read
def meddle(connection: Any) -> None:
    connection.execute(runs.runs.delete())


@read
def where(connection: Any) -> str:
    return threading.current_thread().name


@scan
def where_scanned(connection: Any) -> str:
    return threading.current_thread().name


def test_every_acknowledged_write_is_read(reading: ReadingState) -> None:
    async def write_and_look(number: int) -> None:
        for _ in range(number):
            created = await reading.call(sources.create, new_source(), NONE)
            assert (await reading.call(sources.get, created.source_id)).id == created.source_id

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: asyncio.run(write_and_look(number)), [10] * 4))

    assert reading.call_sync(sources.page, 1, 0).total == 40
    once = reading.once(RequestKey("r1"))
    first = once.call_sync(sources.create, new_source(), NONE)
    assert once.call_sync(sources.create, new_source(), NONE) == first


@repeatable
@read
def fresh(connection: Any) -> list[int]:
    return []


def test_a_read_is_repeated_only_where_nothing_was_committed(
    reading: ReadingState, database_url: str
) -> None:
    first = reading.call_sync(fresh)
    assert (reading.call_sync(fresh) is first) == database_url.startswith("sqlite")
    dataset = add_ready_dataset(reading)
    assert reading.call_sync(fresh) is not first
    for number in range(1, 4):
        job = add_job(reading, dataset).id
        for _ in range(2):
            listed = reading.call_sync(jobs.page_json, 50, 0)
            assert (listed.total, json.loads(listed.body)[0]["id"]) == (number, job)
    reading.call_sync(jobs.cancel, job)
    assert json.loads(reading.call_sync(jobs.page_json, 50, 0).body)[0]["status"] == "cancelled"


def test_a_reader_cannot_change_anything(reading: ReadingState) -> None:
    created = reading.call_sync(sources.create, new_source(), NONE)
    with pytest.raises((DBAPIError, AIForgeError)):
        reading.call_sync(meddle)
    assert reading.call_sync(runs.get, created.parsing_job_id).status is RunStatus.QUEUED


def test_reads_go_on_while_the_writer_is_away(state: LocalState, reading: ReadingState) -> None:
    created = reading.call_sync(sources.create, new_source(), NONE)
    state.store.close()

    assert reading.call_sync(sources.get, created.source_id).id == created.source_id
    with pytest.raises(RuntimeError):
        asyncio.run(reading.probe())


def test_commits_wake_who_waits(reading: ReadingState) -> None:
    async def follow() -> int:
        waiting = asyncio.create_task(reading.wait_events(0, 20))
        await reading.call(sources.create, new_source(), NONE)
        return len(await waiting)

    assert asyncio.run(follow()) > 0


def test_errors_are_the_operations_own(reading: ReadingState) -> None:
    with pytest.raises(NotFound) as missing:
        asyncio.run(reading.call(jobs.get, "job-none"))
    assert missing.value.code == "job_not_found"


def test_only_what_takes_long_leaves_the_event_loop(reading: ReadingState) -> None:
    loops = threading.current_thread().name
    in_file = reading._reader._is_file
    assert (asyncio.run(reading.call(where)) == loops) is in_file
    assert asyncio.run(reading.call(where_scanned)) != loops


def test_a_database_that_is_not_ready_is_unavailable(blank_url: str, tmp_path: Path) -> None:
    for url in (blank_url, f"sqlite:///{tmp_path / 'none' / 'aiforge.db'}"):
        reader = Reader(url)
        with pytest.raises(Unavailable) as early:
            reader.run(events.latest, (), {})
        assert early.value.code == "state_unavailable"
        reader.close()
    assert not (tmp_path / "none").exists()


def test_a_page_is_the_same_as_json(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    done = add_job(state, dataset_id)
    finish(state, done.id, TRAINED | {"eval_loss": 0.5})
    running = add_job(state, dataset_id, project_name="other", target_modules=["q_proj"])
    state.call_sync(runs.start, running.id)
    state.call_sync(runs.record, running.id, 1, runs.Report(points=[point(3, 0.1)], progress=7))
    add_job(state, dataset_id)
    filters: list[tuple[RunStatus | None, str | None]] = [
        (None, None), (RunStatus.RUNNING, None), (None, "other"), (RunStatus.QUEUED, "p"),
        (RunStatus.FAILED, None),
    ]  # fmt: skip
    for status, project in filters:
        for limit, offset in ((50, 0), (1, 1)):
            arguments = (limit, offset, status, project)
            page = state.call_sync(jobs.page, *arguments)
            as_json = state.call_sync(jobs.page_json, *arguments)
            expected = [job.model_dump(mode="json") for job in page.items]
            assert (json.loads(as_json.body), as_json.total) == (expected, page.total)


def test_a_page_as_json_follows_every_change(state: LocalState) -> None:
    job = add_job(state)
    seen = [json.loads(state.call_sync(jobs.page_json, 1, 0).body)[0]["status"]]
    finish(state, job.id, TRAINED)
    seen.append(json.loads(state.call_sync(jobs.page_json, 1, 0).body)[0]["status"])
    assert seen == ["queued", "completed"]
