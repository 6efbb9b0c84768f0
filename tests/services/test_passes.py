"""Loops that never end: what a pass that fails leaves of them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aiforge.errors import Unavailable
from aiforge.services.passes import repeat


def test_no_error_ends_the_passes_but_their_end_does(caplog: pytest.LogCaptureFixture) -> None:
    troubles: list[Exception | None] = [Unavailable("The state is away."), ValueError("odd"), None]
    passes = asyncio.Event()

    async def one() -> None:
        if troubles:
            trouble = troubles.pop(0)
            if trouble is not None:
                raise trouble
            passes.set()
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(repeat(one, "watcher", logging.getLogger("x"), pause=0))
        await asyncio.wait_for(passes.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert [record.message for record in caplog.records] == [
        "The watcher waits: The state is away.",
        "A pass of the watcher failed",
    ]
    assert caplog.records[1].exc_info is not None
