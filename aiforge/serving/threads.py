"""Engines that block, iterated from an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from aiforge.errors import Unavailable

T = TypeVar("T")

RETRY_AFTER_SECONDS = 2


class Turns:
    """A few threads for answers, and a few places to wait for one.

    Args:
        at_once: How many answers are made at a time.
        waiting: How many more may wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="answer")
        self._turn = asyncio.Semaphore(at_once)
        self._room = at_once + waiting

    async def iterate(self, begin: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """What an iterator gives, made in a thread; it is closed wherever this ends.

        Raises:
            Unavailable: As many wait already as may (``chat_busy``).
        """
        if self._room <= 0:
            raise Unavailable(
                "The model is busy, and as many wait for it as may; try again in a moment.",
                code="chat_busy",
                retryAfter=RETRY_AFTER_SECONDS,
            )
        self._room -= 1
        try:
            async with self._turn:
                async for item in self._each(begin()):
                    yield item
        finally:
            self._room += 1

    async def _each(self, items: Iterator[T]) -> AsyncIterator[T]:
        pending: Future[T | None] | None = None
        try:
            while True:
                pending = self._threads.submit(next, items, None)
                item = await asyncio.wrap_future(pending)
                if item is None:
                    return
                yield item
        finally:
            # Where this was cancelled the thread is still at work; the iterator is closed by it.
            if pending is not None:
                pending.add_done_callback(lambda _: _close(items))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _close(items: object) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()
