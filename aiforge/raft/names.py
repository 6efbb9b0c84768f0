"""How often each name of a corpus is declared, described and called, by 64-bit hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray


def hashed(*parts: str) -> int:
    """64 bits of some texts together; the same in every process."""
    return xxhash.xxh3_64_intdigest("\0".join(parts).encode(errors="replace"))


_AT_ONCE = 1 << 23


@lru_cache(maxsize=1 << 16)
def sensed(sense: str, name: str) -> int:
    """The hash of a name in a sense, remembered, as the same names come again and again."""
    return hashed(sense, name)


@dataclass(frozen=True)
class Names:
    """Counts of what occurs often enough to be kept; ``keys`` are sorted hashes."""

    keys: NDArray[np.uint64]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, parts: Sequence[NDArray[np.uint64]], least: int) -> Names:
        """Count hashes, each as often as it stands in ``parts``; fewer than ``least`` are left out.

        With a ``least`` of 2 most names need no room: whoever saw one knows that it occurs.
        """
        # Range after range of the hashes, so that the arrays of a large corpus are never doubled.
        total = sum(map(len, parts))
        ranges = 1 << min(6, max(0, total // _AT_ONCE).bit_length())
        shift = np.uint64(64 - (ranges - 1).bit_length())
        found = []
        for number in range(ranges):
            inside = parts if ranges == 1 else [p[(p >> shift) == number] for p in parts]
            every = np.concatenate([np.zeros(0, np.uint64), *inside])
            keys, counts = np.unique(every, return_counts=True)
            kept = counts >= least
            found.append((keys[kept], counts[kept].astype(np.int32)))
        return cls(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def of_each(self, hashes: NDArray[np.uint64], otherwise: int) -> NDArray[np.int32]:
        """The count of each hash; ``otherwise`` for those that are not kept."""
        if not len(self.keys):
            return np.full(len(hashes), otherwise, np.int32)
        places = np.searchsorted(self.keys, hashes).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == hashes, self.counts[places], np.int32(otherwise))
