"""Texts as numbers: the words of code and prose by hashes that are the same in every process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate, chain
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from aiforge.raft.wording import words

_RUN = re.compile(r"[^\W\d_]+|\d+")
_REMEMBERED = 1 << 18
_MOST = 255


class _Memory(dict[str, tuple[int, ...]]):
    """Hashes of the parts of identifiers, remembered; all is forgotten when it grows too large."""

    def __missing__(self, run: str) -> tuple[int, ...]:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = tuple(crc32(part.encode(errors="replace")) for part in words(run))
        self[run] = found
        return found


_memory = _Memory()


def terms_of(text: str) -> list[int]:
    """Hashes (32 bits) of the words of a text, in their order; digits are words of their own."""
    return list(chain.from_iterable(map(_memory.__getitem__, _RUN.findall(text))))


def flat_terms(texts: Iterable[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Terms of texts, one after the other, and where each text begins; its end stands last."""
    found = [terms_of(text) for text in texts]
    offsets = np.fromiter(accumulate(map(len, found), initial=0), np.int64, len(found) + 1)
    flat = np.fromiter(chain.from_iterable(found), np.uint32, int(offsets[-1]))
    return flat, offsets


def counted(
    flat: NDArray[np.uint32], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.int64]]:
    """Terms of each text once, in ascending order, and how often each occurs, at most 255 times.

    Returns:
        Terms, their frequencies, and where each text begins.
    """
    lengths = np.diff(offsets)
    owners = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    keys = np.sort((owners << np.uint64(32)) | flat)
    firsts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else _NONE
    frequencies = np.minimum(np.diff(np.append(firsts, len(keys))), _MOST).astype(np.uint8)
    unique = keys[firsts]
    starts = np.searchsorted(unique >> np.uint64(32), np.arange(len(lengths) + 1, dtype=np.uint64))
    return unique.astype(np.uint32), frequencies, starts.astype(np.int64)


_NONE = np.zeros(0, np.int64)
