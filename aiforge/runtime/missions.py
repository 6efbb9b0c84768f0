"""The watchers' loop, beside the dispatcher's: looks when something happened, and now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from aiforge.services.overseer import Overseer
from aiforge.services.passes import repeat
from aiforge.state import events
from aiforge.state.access import State

LOOK_SECONDS = 60.0
"""How long at the most between two looks: what is not in the state, nobody tells."""

SETTLE_SECONDS = 1.0
"""How long events may gather before a look, since one change often comes with others."""

OWN = ("mission.", "artifact.")
"""Events that a look itself causes; they are no reason for another one."""

_log = logging.getLogger(__name__)


async def watch(
    state: State,
    overseer: Overseer,
    work: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> None:
    """Look again and again until the process ends; no error ends it.

    Args:
        work: What each look is done within; it may hold one up before it begins.
    """
    seen = 0

    async def look() -> None:
        nonlocal seen
        seen = max(seen, await state.call(events.latest))
        async with work():
            await overseer.look()
        seen = await _until_something_happens(state, seen)

    await repeat(look, "overseer", _log)


async def _until_something_happens(state: State, seen: int) -> int:
    """The sequence number of the last event that is known after the wait."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LOOK_SECONDS
    while (left := deadline - loop.time()) > 0:
        found = await state.wait_events(seen, left)
        if found:
            seen = found[-1].sequence
        if any(_matters(event.type) for event in found):
            await asyncio.sleep(SETTLE_SECONDS)
            break
    return seen


def _matters(type: str) -> bool:
    return not type.startswith(OWN) or type in ("mission.approved", "mission.rejected")
