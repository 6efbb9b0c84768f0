"""Ends a lasting process in a quiet moment, so that Ray starts it anew, and small.

Ray keeps 60 to 170 kB of every actor that a process has started, for as long as that process
lives, and has no call that gives them back. What has nothing that it cannot find out again loses
nothing with its process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

ACTORS = 50
"""Actors that a process starts before it is renewed: 3 to 9 MiB that stay with it."""

LEAVE_SECONDS = 10.0
"""How long a process may take to end; where it has not by then, it goes on."""

PAUSE_SECONDS = 0.1


class Renewal:
    """Counts what the process has started, and ends it where that cuts nothing off.

    Several threads of the process may work with it, each with a loop of its own.

    Args:
        end: Ends the process, at once or soon.
        after: Actors that it starts before it is to end. With twice as many it ends although
            something is under way, which must bear that, as it must a crash.
    """

    def __init__(self, end: Callable[[], None], after: int = ACTORS) -> None:
        self._end = end
        self._after = after
        self._started = 0
        self._lock = threading.Lock()
        self._under_way = 0
        self._closed = False

    def count(self) -> None:
        """Note that an actor was started."""
        self._started += 1

    @property
    def started(self) -> int:
        """Actors that were started so far."""
        return self._started

    @property
    def is_due(self) -> bool:
        """Whether the process should end as soon as nobody waits for it."""
        return self._started >= self._after

    @property
    def is_overdue(self) -> bool:
        """Whether it should end although somebody waits for it."""
        return self._started >= 2 * self._after

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """What the process should not end in the middle of; none begins while it ends."""
        while not self._begin():
            await asyncio.sleep(PAUSE_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _begin(self) -> bool:
        with self._lock:
            self._under_way += not self._closed
            return not self._closed

    def close(self) -> bool:
        """Have no work begin from now on; false, and nothing changes, while some is under way."""
        with self._lock:
            self._closed = self.is_overdue or not self._under_way
            return self._closed

    async def leave(self) -> None:
        """End the process; returns where it does not end."""
        try:
            await asyncio.to_thread(self._end)
            await asyncio.sleep(LEAVE_SECONDS)
        finally:
            with self._lock:
                self._closed = False
