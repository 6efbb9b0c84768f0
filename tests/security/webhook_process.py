"""The sender of webhooks in a process of its own, for tests that kill it.

python webhook_process.py DATABASE_URL
"""

from __future__ import annotations

import asyncio
import sys

from aiforge.services.sender import Sender
from aiforge.state.access import LocalState
from aiforge.state.store import Store


def main(url: str) -> None:
    """Send until the process ends."""
    asyncio.run(Sender(LocalState(Store(url)), ["127.0.0.1"]).run())


if __name__ == "__main__":
    main(sys.argv[1])
