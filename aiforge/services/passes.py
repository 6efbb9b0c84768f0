"""The loops of processes that never end: one pass after another, whatever goes wrong in one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from aiforge.errors import Unavailable

PAUSE_SECONDS = 1.0
"""After a pass that failed."""


async def repeat(
    one: Callable[[], Awaitable[None]],
    who: str,
    log: logging.Logger,
    pause: float = PAUSE_SECONDS,
) -> NoReturn:
    """Make one pass after another until the process ends; no error ends it.

    Args:
        one: A pass; it waits by itself for something to do.
        who: Who makes them, for the log: ``The <who> waits``.
        pause: Seconds after a pass that failed.
    """
    while True:
        try:
            await one()
        except Unavailable as error:
            log.warning("The %s waits: %s", who, error.message)
            await asyncio.sleep(pause)
        except Exception:
            log.exception("A pass of the %s failed", who)
            await asyncio.sleep(pause)
