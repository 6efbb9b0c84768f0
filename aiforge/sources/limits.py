"""How much a source may cost to read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiforge.errors import Failure

Progress = Callable[[float, str], None]
"""Called with a fraction from 0 to 1 and the stage; what it raises stops the work."""


@dataclass(frozen=True)
class Limits:
    """Bounds on one sync; going over any of the totals fails it."""

    max_files: int = 200_000
    """Entries that a tree, a directory or an archive may have."""

    max_file_bytes: int = 1 << 20
    """Larger files are skipped, and listed as such."""

    max_total_bytes: int = 4 << 30
    """Text that one snapshot may hold."""

    max_fetch_bytes: int = 8 << 30
    """Disk that a git mirror may occupy."""

    max_seconds: float = 1800.0
    """Time that one sync may take."""

    max_path_bytes: int = 1024
    """Longer paths are skipped, and listed as such."""

    max_archive_ratio: int = 200
    """How often larger than itself an archive may unpack to."""


class Deadline:
    """A point in time that work must not run past.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise ``Failure`` (``source_timeout``) once the time is up."""
        if not self.remaining:
            raise Failure(
                f"Reading the source took more than {self._seconds:.0f} s. Narrow it with include "
                "or exclude patterns, or try again when the remote answers faster.",
                code="source_timeout",
            )
