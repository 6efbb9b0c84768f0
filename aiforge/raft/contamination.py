"""Chunks that hold problems of a benchmark, by word n-grams that they share with it.

Ten words in a row, case and punctuation aside, hardly come about twice by chance; the reports of
large models use between eight and thirteen (2005.14165, 2307.09288). The index holds nothing but
hashes, so that it can be shipped. Whole batches of texts are hashed by a handful of array
operations: words by a polynomial over their bytes, n-grams by one over their words.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiforge.errors import InvalidInput
from aiforge.settings import get_settings

NGRAM = 10
"""Words that must agree in a row."""

SHIPPED = "humaneval.ngrams.gz"
"""Hashes of HumanEval's 164 problems (MIT licence), beside this module."""

_FIELDS = ("prompt", "canonical_solution", "test", "text", "code", "question", "solution")
# Letters and digits of ASCII, and whatever is of other scripts, as ``_word_bytes`` has them.
_WORD = re.compile(r"[a-z0-9\u0080-\U0010ffff]+")
_LONG_WORD = 3
_LONG_WORDS = 6
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_STEP = np.uint64(0xC2B2AE3D27D4EB4F)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)
_BITS = 22
# Texts are hashed in groups of about this many bytes; the tables of powers are that long.
_GROUP_BYTES = 1 << 18
_SEPARATOR = b"\n"


@dataclass(frozen=True)
class NgramIndex:
    """Sorted hashes of n-grams, and a bitmap that most others miss."""

    hashes: NDArray[np.uint64]
    bitmap: NDArray[np.bool_]

    @classmethod
    def of(cls, texts: Iterable[str]) -> NgramIndex:
        """The index of the n-grams of some texts."""
        parts = [_telling(text) for text in texts]
        return cls.of_hashes(np.unique(np.concatenate([np.zeros(0, np.uint64), *parts])))

    @classmethod
    def of_hashes(cls, hashes: NDArray[np.uint64]) -> NgramIndex:
        """The index of sorted hashes."""
        bitmap = np.zeros(1 << _BITS, np.bool_)
        bitmap[_slots(hashes)] = True
        return cls(hashes, bitmap)

    def shared(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text has an n-gram of the index."""
        found = [False] * len(texts)
        for first, group in _groups(texts):
            hashes, starts = _ngrams(_SEPARATOR.join(group))
            hit = self._hits(hashes, starts, group)
            for index in hit:
                found[first + index] = True
        return found

    def _hits(
        self, hashes: NDArray[np.uint64], starts: NDArray[np.int64], group: Sequence[bytes]
    ) -> list[int]:
        """The texts of a group that an indexed n-gram lies in; none counts across two texts."""
        maybe = np.flatnonzero(self.bitmap[_slots(hashes)])
        places = np.searchsorted(self.hashes, hashes[maybe]).clip(max=len(self.hashes) - 1)
        maybe = maybe[self.hashes[places] == hashes[maybe]] if len(self.hashes) else maybe[:0]
        if not len(maybe):
            return []
        ends = np.cumsum([len(text) + len(_SEPARATOR) for text in group])
        texts = np.unique(np.searchsorted(ends, starts[maybe], side="right"))
        return [
            int(index)
            for index in texts
            if np.isin(_ngrams(group[int(index)])[0], self.hashes).any()
        ]


def _slots(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (hashes * _SPREAD) >> np.uint64(64 - _BITS)


def _groups(texts: Sequence[str]) -> Iterable[tuple[int, list[bytes]]]:
    group: list[bytes] = []
    size, first = 0, 0
    for index, text in enumerate(texts):
        data = text.encode(errors="replace")
        if group and size + len(data) > _GROUP_BYTES:
            yield first, group
            group, size, first = [], 0, index
        group.append(data)
        size += len(data) + 1
    if group:
        yield first, group


def _ngrams(data: bytes) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the n-grams of a text, and the byte at which each begins."""
    array = np.frombuffer(data.lower(), np.uint8)
    inside = np.zeros(len(array) + 2, np.bool_)
    inside[1:-1] = _word_bytes()[array]
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    if len(starts) < NGRAM:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    powers, inverses = _powers(len(array) + 1)
    sums = np.zeros(len(array) + 1, np.uint64)
    np.cumsum((array.astype(np.uint64) + np.uint64(1)) * powers[: len(array)], out=sums[1:])
    words = (sums[ends] - sums[starts]) * inverses[starts]
    words ^= words >> np.uint64(29)
    count = len(words) - NGRAM + 1
    total = np.zeros(count, np.uint64)
    for offset in range(NGRAM):
        total = total * _STEP + words[offset : offset + count]
    return total, starts[:count]


def _telling(text: str) -> NDArray[np.uint64]:
    """Hashes of those n-grams of a text that say something: counting from 1 to 10 does not."""
    data = text.encode(errors="replace")
    hashes, _ = _ngrams(data)
    words = _WORD.findall(data.lower().decode())
    return np.array(
        [
            each
            for index, each in enumerate(hashes.tolist())
            if len({word for word in words[index : index + NGRAM] if len(word) >= _LONG_WORD})
            >= _LONG_WORDS
        ],
        np.uint64,
    )


@cache
def _word_bytes() -> NDArray[np.bool_]:
    """Which bytes belong to words: letters, digits, and all of other scripts."""
    return np.array([byte >= 128 or chr(byte).isalnum() for byte in range(256)], np.bool_)


def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    rounded = max(_GROUP_BYTES * 2, 1 << (count - 1).bit_length())
    return _powers_of(_BASE, rounded), _powers_of(_INVERSE, rounded)


@cache
def _powers_of(base: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def contaminated(texts: Sequence[str]) -> list[bool]:
    """Whether each text shares an n-gram with a benchmark that models are judged by."""
    return _index(_digest()).shared(texts)


def version() -> str:
    """Name of the benchmarks that are looked for: it changes with them."""
    return _digest()


def benchmark_texts(path: Path) -> list[str]:
    """The texts of a benchmark's problems: a JSONL file, gzipped or not, an object per line.

    Raises:
        InvalidInput: ``benchmark_unreadable``.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        return [" ".join(str(row[name]) for name in _FIELDS if row.get(name)) for row in rows]
    except (OSError, EOFError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"{path} of AIFORGE_BENCHMARK_FILES is no JSONL file of problems: {error}. Correct "
            "the setting.",
            code="benchmark_unreadable",
        ) from error


def shipped_hashes() -> NDArray[np.uint64]:
    """The sorted hashes that come with the package."""
    packed = files("aiforge.raft").joinpath(SHIPPED).read_bytes()
    return np.frombuffer(gzip.decompress(packed), "<u8").astype(np.uint64)


def write_shipped(benchmark: Path, target: Path) -> int:
    """Make the file that comes with the package; returns the number of its hashes."""
    hashes = NgramIndex.of(benchmark_texts(benchmark)).hashes
    target.write_bytes(gzip.compress(hashes.astype("<u8").tobytes(), mtime=0))
    return len(hashes)


@cache
def _index(_: str) -> NgramIndex:
    own = [NgramIndex.of(benchmark_texts(path)).hashes for path in get_settings().benchmark_files]
    return NgramIndex.of_hashes(np.unique(np.concatenate([shipped_hashes(), *own])))


@cache
def _digest() -> str:
    digest = hashlib.sha256(shipped_hashes().tobytes())
    for path in get_settings().benchmark_files:
        digest.update(" ".join(benchmark_texts(path)).encode())
    return f"{NGRAM}-{digest.hexdigest()[:16]}"
