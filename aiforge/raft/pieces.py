"""Pieces of text, as tokenizers split it before they merge anything, found and numbered.

A pattern defines the pieces. Whole files are split and looked up by array operations, which takes
a fraction of its time: a piece is known by a 64-bit hash of its characters.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# White space but its last space, words with the space before them, runs of signs.
PIECE = re.compile(r"\s+(?!\S)| ?\w+| ?[^\w\s]+|\s")
# As byte-level BPE does it (GPT-2): letters, digits and signs apart, so that counts are exact.
BYTE_LEVEL_PIECE = re.compile(r"\s+(?!\S)| ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s")

_SPACE = ord(" ")
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)
_LEAST_BITS = 16
_HEADS = ("a", "0", "+")  # one of each class that makes runs
_WIDEST = 1 << 16


class Numbers:
    """Numbers of pieces in the order in which they are met; ``fresh`` are those not looked at."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.fresh: list[str] = []
        self._pattern = pattern
        self._count = 0
        self._clear(_LEAST_BITS)

    def __len__(self) -> int:
        return self._count

    def of(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The numbers of the pieces of a text, and at which character each begins."""
        codes = _codes(text)
        starts = _starts(_kinds(codes, self._pattern))
        hashes = _hashes(codes, starts)
        numbers = self._look_up(hashes)
        missing = np.flatnonzero(numbers < 0)
        if len(missing):
            ends = np.append(starts, len(codes))
            _, firsts = np.unique(hashes[missing], return_index=True)
            self._make_room(self._count + len(firsts))
            for place in missing[np.sort(firsts)].tolist():
                self._add(text[starts[place] : ends[place + 1]], hashes[place])
            numbers[missing] = self._look_up(hashes[missing])
        return numbers, starts

    # An open hash table in two arrays; the hash 0 stands for a free place.

    def _clear(self, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._keys = np.zeros(1 << bits, np.uint64)
        self._values = np.full(1 << bits, -1, np.int32)

    def _slots(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return ((hashes * _SPREAD) >> self._shift).astype(np.int64)

    def _look_up(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        slots = self._slots(hashes)
        keys = self._keys[slots]
        numbers = np.where(keys == hashes, self._values[slots], np.int32(-1))
        open_places = np.flatnonzero((keys != hashes) & (keys != 0))
        while len(open_places):
            slots[open_places] = (slots[open_places] + 1) % len(self._keys)
            keys = self._keys[slots[open_places]]
            same = keys == hashes[open_places]
            numbers[open_places[same]] = self._values[slots[open_places[same]]]
            open_places = open_places[~same & (keys != 0)]
        return numbers

    def _add(self, piece: str, key: np.uint64) -> None:
        self.fresh.append(piece)
        self._put(key, self._count)
        self._count += 1

    def _put(self, key: np.uint64, number: int) -> None:
        slot = int((int(key) * int(_SPREAD) % (1 << 64)) >> int(self._shift))
        while self._keys[slot]:
            slot = (slot + 1) % len(self._keys)
        self._keys[slot], self._values[slot] = key, number

    def _make_room(self, count: int) -> None:
        """Keep at least half of the table free with so many pieces in it."""
        if 2 * count <= len(self._keys):
            return
        taken = self._keys != 0
        keys, values = self._keys[taken], self._values[taken]
        self._clear(max(_LEAST_BITS, (4 * count).bit_length()))
        for key, number in zip(keys, values.tolist(), strict=True):
            self._put(key, number)


def _codes(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The characters of a text as numbers."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _kinds(codes: NDArray[Any], pattern: re.Pattern[str]) -> NDArray[np.uint8]:
    """The class of each character: 0 for white space, 1 for a space, others for what makes runs."""
    if codes.dtype == np.uint8:
        known: NDArray[np.uint8] = _ascii_kinds(pattern)[codes]
        return known
    kinds: NDArray[np.uint8] = _ascii_kinds(pattern)[np.minimum(codes, 127)]
    beyond = np.flatnonzero(codes > 127)
    characters, places = np.unique(codes[beyond], return_inverse=True)
    kinds[beyond] = np.array([_kind(chr(code), pattern) for code in characters], np.uint8)[places]
    return kinds


@cache
def _ascii_kinds(pattern: re.Pattern[str]) -> NDArray[np.uint8]:
    return np.array([_kind(chr(code), pattern) for code in range(128)], np.uint8)


def _kind(character: str, pattern: re.Pattern[str]) -> int:
    if character.isspace():
        return int(character == " ")
    return 2 + [len(pattern.findall(head + character)) for head in _HEADS].index(1)


def _starts(kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where the pieces of a text begin, given the classes of its characters."""
    if not len(kinds):
        return np.zeros(0, np.int64)
    merged = np.where(kinds < 2, np.uint8(0), kinds)
    begins = np.append(True, merged[1:] != merged[:-1])
    # A run of anything else takes one space before it along; other white space stands alone.
    before_run = np.append(begins[1:] & (kinds[1:] > 1), False)
    alone = before_run & (kinds == 0)
    joined = before_run & (kinds == 1)
    return np.flatnonzero((begins & ~np.append(False, joined[:-1])) | alone | joined)


def _hashes(codes: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of each piece, never 0: a polynomial over its characters."""
    powers, inverses = _powers(max(_WIDEST, 1 << len(codes).bit_length()))
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes + np.uint64(1)) * powers[: len(codes)], out=sums[1:])
    bounds = sums[np.append(starts, len(codes))]
    found: NDArray[np.uint64] = (bounds[1:] - bounds[:-1]) * inverses[starts]
    return found | np.uint64(1 << 63)


@cache
def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    columns = []
    for base in (_BASE, _INVERSE):
        powers = np.full(count, base, np.uint64)
        powers[0] = 1
        columns.append(np.cumprod(powers, dtype=np.uint64))
    return columns[0], columns[1]
