"""Carries out operations: one transaction each, once per request, waking whoever waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from aiforge.schemas.access import Origin
from aiforge.state import applied, audit, engine, migrate, projects
from aiforge.state.events import REQUEST, TOPICS
from aiforge.state.leases import Lease
from aiforge.state.ops import mode_of, name_of, result_type

T = TypeVar("T")

READERS = 4


@dataclass(frozen=True)
class RequestKey:
    """What makes a write happen once: its id and, where a client chose that, a fingerprint."""

    id: str
    fingerprint: str | None = None


class Wakeups:
    """Who waits for which resource; commits wake them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[str | None, Callable[[], None]]] = {}

    def register(self, topic: str | None, wake: Callable[[], None]) -> object:
        """Have ``wake`` called at each commit that touches the topic (any, for ``None``)."""
        ticket = object()
        with self._lock:
            self._waiting[ticket] = (topic, wake)
        return ticket

    def unregister(self, ticket: object) -> None:
        """Wait no more."""
        with self._lock:
            self._waiting.pop(ticket, None)

    def notify(self, topics: set[str]) -> None:
        """Wake all who wait for one of the topics; from any thread."""
        with self._lock:
            chosen = [
                wake for topic, wake in self._waiting.values() if not topic or topic in topics
            ]
        for wake in chosen:
            wake()


class Store:
    """The database behind the state.

    The tables are brought up to date before the first operation, not in the constructor: a
    database that is away at that moment makes operations fail, and not the process.

    Args:
        lease: What entitles it to write; without one it does not ask.
    """

    def __init__(self, url: str, lease: Lease | None = None) -> None:
        self._engine = engine.open_engine(url)
        self._writes = engine.WriteTransactions(self._engine)
        self._lease = lease
        self._wakeups = Wakeups()
        self._migration = threading.Lock()
        self._migrated = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state-write")
        self._writing = threading.Lock()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="state-read")

    def run(
        self,
        op: Callable[..., T],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        key: RequestKey | None = None,
        origin: Origin | None = None,
    ) -> T:
        """Carry out one operation in one transaction.

        Args:
            key: Identifies a write; the same key again returns the first result.
            origin: Who asked for a write; it is put into the audit trail with what it changes.

        Raises:
            AIForgeError: Whatever the operation raises; the transaction is rolled back.
            Unavailable: The database does not answer, or another platform writes to it.
        """
        self._migrate()
        kwargs = kwargs or {}
        if mode_of(op) == "read":
            with engine.transaction(self._engine, writes=False) as connection:
                return op(connection, *args, **kwargs)
        topics: set[str] = set()
        # Waiting for a lock ends with its release; waiting for the database goes by the clock.
        with self._writing:
            self._renew()
            with self._writes.begin() as connection:
                connection.info[TOPICS] = topics
                connection.info[REQUEST] = origin.request_id if origin else None
                result = self._once(connection, op, args, kwargs, key, origin)
        if topics:
            self._wakeups.notify(topics)
        return result

    def hold(self) -> None:
        """Renew the right to write where it is due.

        Raises:
            Unavailable: The database does not answer, or another platform writes to it.
        """
        self._migrate()
        with self._writing:
            self._renew()

    def _renew(self) -> None:
        # In a transaction of its own: a write that fails must not take the renewal back.
        if self._lease is not None and self._lease.is_due:
            with self._writes.begin() as connection:
                moment = self._lease.renew(connection)
            self._lease.note(moment)

    def _once(
        self,
        connection: Connection,
        op: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: RequestKey | None,
        origin: Origin | None,
    ) -> T:
        if key is None:
            return _attributed(connection, op, args, kwargs, origin)
        adapter = result_type(op)
        stored = applied.find(connection, key.id, key.fingerprint)
        if stored is not None:
            return adapter.validate_json(stored)  # type: ignore[no-any-return]
        result = _attributed(connection, op, args, kwargs, origin)
        applied.note(connection, key.id, key.fingerprint, adapter.dump_json(result).decode())
        return result

    async def call(
        self,
        op: Callable[..., T],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        key: RequestKey | None = None,
        origin: Origin | None = None,
    ) -> T:
        """As ``run``, without blocking the event loop; writes queue up behind each other."""
        pool: Executor = self._readers if mode_of(op) == "read" else self._writer
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, self.run, op, args, kwargs, key, origin)

    async def wait(
        self,
        op: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        topic: str | None,
        timeout: float,
    ) -> T:
        """Repeat a read after each commit that touches the topic until its result is true.

        Args:
            topic: A resource's id; ``None`` for all.
            timeout: Seconds after which the result is returned as it is.
        """
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        ticket = self._wakeups.register(topic, lambda: _set_in(loop, woken))
        try:
            async with asyncio.timeout(timeout):
                while not (result := await self.call(op, args, kwargs)):
                    await woken.wait()
                    woken.clear()
                return result
        except TimeoutError:
            return await self.call(op, args, kwargs)
        finally:
            self._wakeups.unregister(ticket)

    def close(self) -> None:
        """Finish what is under way and close the connections."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._writes.close()
        self._engine.dispose()

    def _migrate(self) -> None:
        if self._migrated:
            return
        with self._migration:
            if not self._migrated:
                migrate.upgrade(self._engine)
                self._migrated = True


def _attributed(
    connection: Connection,
    op: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    origin: Origin | None,
) -> T:
    """Carry out a write; who asked for it is noted in the same transaction."""
    result = op(connection, *args, **kwargs)
    if origin is not None:
        touched: set[str] = connection.info[TOPICS]
        audit.note(connection, origin, name_of(op), touched)
        if origin.projects is not None:
            projects.claim(connection, touched, origin.projects)
    return result


def _set_in(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event from any thread; a loop that is closed has nobody waiting."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)
