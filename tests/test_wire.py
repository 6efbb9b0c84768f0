"""The short cut between processes of one machine."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aiforge import wire
from aiforge.errors import NotFound
from aiforge.schemas.common import new_id
from aiforge.schemas.runs import Resources
from aiforge.state import actor, events, jobs, sources
from aiforge.state.ops import name_of
from aiforge.state.sources import NewSource
from aiforge.state.store import RequestKey, Store
from aiforge.wire import Line, LineDownError


@pytest.fixture(autouse=True)
def _sockets_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Not below tmp_path: the path of a Unix socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("TMPDIR", directory)
        yield


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where both ends meet, on the event loop of a plain process and on that of Ray's."""
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(request.param())
    yield wire.address("test", str(tmp_path))
    asyncio.set_event_loop_policy(before)


async def doubled_later(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def test_calls_are_answered_each_with_its_own_answer(path: Path) -> None:
    held = asyncio.Event()

    async def handler(value: Any) -> Any:
        if value == "first":
            await held.wait()
        elif value == "release":
            held.set()
        return value

    wire.listen(path, handler)
    line = Line(path)

    async def ask() -> list[Any]:
        slow = asyncio.ensure_future(line.call("first"))
        quick = [await line.call(n) for n in range(3)]
        large = b"x" * (3 << 20)
        assert await line.call(large) == large
        await line.call("release")
        return [*quick, await slow]

    assert asyncio.run(ask()) == [0, 1, 2, "first"]


def test_an_answer_may_come_at_once_or_later(path: Path) -> None:
    wire.listen(path, lambda n: doubled_later(n) if n % 2 else 2 * n)

    async def ask() -> list[int]:
        line = Line(path)
        return list(await asyncio.gather(*(line.call(n) for n in range(50))))

    assert asyncio.run(ask()) == [2 * n for n in range(50)]


def test_a_handler_that_fails_ends_the_connection_and_nothing_waits(path: Path) -> None:
    async def handler(value: int) -> int:
        return 1 // value

    wire.listen(path, handler)

    async def ask() -> None:
        line = Line(path)
        assert await line.call(1) == 1
        with pytest.raises(LineDownError):
            await line.call(0)

    asyncio.run(ask())


def test_nobody_at_the_other_end_is_told_at_once(path: Path) -> None:
    with pytest.raises(LineDownError):
        asyncio.run(Line(path).call("anybody?"))


def test_who_listens_last_is_heard(path: Path) -> None:
    wire.listen(path, lambda _: "old")
    wire.listen(path, lambda _: "new")
    assert asyncio.run(Line(path).call(None)) == "new"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_frame_that_claims_too_much_ends_the_connection(path: Path) -> None:
    wire.listen(path, lambda value: value)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        other.sendall(struct.pack("!IQ", wire.MOST_BYTES + 1, 1))
        assert other.recv(1) == b""


def test_another_user_is_not_read_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    monkeypatch.setattr(wire, "_user_of", lambda _: os.getuid() + 1)
    wire.listen(path, heard.append)
    content = pickle.dumps("let me in")
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        with suppress(ConnectionError):
            other.sendall(struct.pack("!IQ", len(content), 1) + content)
            assert other.recv(1) == b""
    assert heard == []


def test_the_kernel_tells_who_is_at_the_other_end() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert wire._user_of(one.fileno()) == os.getuid()


def test_a_directory_that_others_may_enter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire.tempfile, "gettempdir", lambda: str(tmp_path))
    wire.address("x")
    (tmp_path / f"aiforge-{os.getuid()}").chmod(0o755)
    with pytest.raises(PermissionError, match="of this user alone"):
        wire.address("x")


def _write_for_ever(home: str, url: str) -> None:
    actor.Writer(url, home)
    signal.pause()


def test_a_writer_that_is_killed_loses_no_acknowledged_write_and_does_none_twice(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'aiforge.db'}"
    store = Store(url)
    before = store.run(events.latest)
    line = Line(wire.address("state", str(tmp_path), url))
    spawn = multiprocessing.get_context("spawn")

    def start() -> Any:
        process = spawn.Process(target=_write_for_ever, args=(str(tmp_path), url), daemon=True)
        process.start()
        return process

    async def send(key: RequestKey) -> None:
        new = NewSource(
            id=new_id("src"), name="x", type="git", include_patterns=[], exclude_patterns=[]
        )
        call = (name_of(sources.create), (new, Resources()), {}, key, None)
        while True:
            try:
                reply = await line.call(call)
            except LineDownError:
                await asyncio.sleep(0.02)
                continue
            assert reply.error is None
            return

    async def stream() -> int:
        writer = start()
        written = 0
        for _ in range(2):
            waiting = [asyncio.ensure_future(send(RequestKey(uuid.uuid4().hex))) for _ in range(60)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            writer.kill()
            writer.join()
            writer = start()
            await asyncio.gather(*waiting)
            written += len(waiting)
        writer.kill()
        return written

    written = asyncio.run(asyncio.wait_for(stream(), 120))

    made = store.run(sources.page, (2 * written, 0))
    told = store.run(events.after, (before, None, 10 * written))
    store.close()
    assert made.total == written
    assert len([one for one in told if one.type == "source.syncing"]) == written


def test_an_error_of_the_state_arrives_as_itself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'aiforge.db'}"
    actor.Writer(url, str(tmp_path))
    line = Line(wire.address("state", str(tmp_path), url))
    call = (name_of(jobs.cancel), ("job-none",), {}, RequestKey("one"), None)
    reply = asyncio.run(line.call(call))
    assert isinstance(reply.error, NotFound)


def test_sockets_that_killed_processes_left_go_and_those_that_answer_stay(path: Path) -> None:
    old = time.time() - 2 * wire.STALE_SECONDS
    dead, young = path.with_name("dead.sock"), path.with_name("young.sock")
    for left in (dead, young):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(left))
    wire.listen(path, lambda value: value)
    for one in (dead, path):
        os.utime(one, (old, old))

    wire.listen(path.with_name("other.sock"), lambda value: value)

    assert sorted(found.name for found in path.parent.glob("*.sock")) == sorted(
        [path.name, "other.sock", "young.sock"]
    )
