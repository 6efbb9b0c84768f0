"""Reads in the process that asks, while one writer elsewhere makes all the changes.

A write is acknowledged after its commit, and every later read of the same database sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from aiforge.errors import Unavailable
from aiforge.schemas.access import Origin
from aiforge.state import engine, migrate
from aiforge.state.access import Op, P, State
from aiforge.state.ops import is_repeatable, is_scan, mode_of
from aiforge.state.store import READERS, RequestKey

T = TypeVar("T")

MOST_REMEMBERED = 16
"""Results of repeatable reads that a connection remembers."""

_REMEMBERED = "aiforge_remembered"


@dataclass
class _Remembered:
    """Results that were read while the database had a version."""

    version: int = -1
    results: dict[Any, Any] = field(default_factory=dict)


class Reader:
    """Carries out reads on a database that the state's writer has opened before.

    Raises:
        InvalidInput: The URL names no database that the platform can use.
    """

    def __init__(self, url: str) -> None:
        self._engine = engine.open_engine(url, reads_only=True)
        self._is_file = self._engine.dialect.name == "sqlite"
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="state-read")
        self._is_current = False

    def run(self, op: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        """Carry out one read in one transaction.

        Raises:
            AIForgeError: Whatever the operation raises.
            Unavailable: The database does not answer, or has not been migrated yet.
        """
        with engine.transaction(self._engine, writes=False) as connection:
            if not self._is_current:
                if not migrate.is_current(connection):
                    raise Unavailable(
                        "The state is being brought up to date; try again soon.",
                        code="state_unavailable",
                        retryAfter=5,
                    )
                self._is_current = True
            if self._is_file and is_repeatable(op):
                return _repeated(connection, op, args, kwargs)
            return op(connection, *args, **kwargs)

    async def call(self, op: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        """As ``run``, without holding up the event loop for longer than a thread would."""
        if self._is_file and not is_scan(op):
            return self.run(op, args, kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self.run, op, args, kwargs)

    def close(self) -> None:
        """Finish what is under way and close the connections."""
        self._pool.shutdown()
        self._engine.dispose()


def _repeated(
    connection: Connection, op: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    """Carry out a read, unless nothing was committed since this connection last did.

    SQLite's ``data_version`` changes with every commit of another connection, and this one makes
    none. Asking for it begins the transaction's snapshot, which the version is of.
    """
    version: int = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    remembered: _Remembered = connection.info.setdefault(_REMEMBERED, _Remembered())
    if remembered.version != version or len(remembered.results) >= MOST_REMEMBERED:
        remembered.results.clear()
        remembered.version = version
    key = (op, args, tuple(sorted(kwargs.items())))
    if key not in remembered.results:
        remembered.results[key] = op(connection, *args, **kwargs)
    result: T = remembered.results[key]
    return result


class ReadingState(State):
    """The state with reads carried out here, and all else by its writer.

    Args:
        writer: Where writes go, and who knows of commits.
    """

    def __init__(self, writer: State, reader: Reader) -> None:
        self.writer = writer
        self._reader = reader

    async def call(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if mode_of(op) == "read":
            return await self._reader.call(op, args, kwargs)
        return await self.writer.call(op, *args, **kwargs)

    def call_sync(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if mode_of(op) == "read":
            return self._reader.run(op, args, kwargs)
        return self.writer.call_sync(op, *args, **kwargs)

    def send(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        self.writer.send(op, *args, **kwargs)

    async def wait(
        self, timeout: float, topic: str | None, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self.writer.wait(timeout, topic, op, *args, **kwargs)

    async def probe(self) -> None:
        await self.writer.probe()

    def once(self, key: RequestKey | None) -> State:
        return self.writer.once(key)

    def on_behalf(self, origin: Origin) -> State:
        return ReadingState(self.writer.on_behalf(origin), self._reader)
