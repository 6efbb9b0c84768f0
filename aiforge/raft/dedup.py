"""Near-duplicate chunks: MinHash over word triples, banded, then verified (Broder, 1997).

Sketches are made where a chunk is made and are all that clustering needs: 192 bytes of each chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rensa import RMinHash

PERMUTATIONS = 128
BANDS = 16  # of 8 rows: pairs with a Jaccard similarity of 0.71 share a band every other time
_SIMILAR = 0.8
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_CHANCE = 1 / 256  # that two different minima agree in the byte of them that is kept
_PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Sketches:
    """What is kept of documents.

    ``minima`` holds the low byte of each minimum (documents × 128, uint8), ``bands`` a hash of
    each band of minima (documents × 16, uint32).
    """

    minima: NDArray[np.uint8]
    bands: NDArray[np.uint32]

    @classmethod
    def of(cls, flat: NDArray[np.uint32], offsets: NDArray[np.int64]) -> Sketches:
        """Sketch documents, given as ``terms.flat_terms`` gives them."""
        count = len(offsets) - 1
        if not count:
            return cls(np.zeros((0, PERMUTATIONS), np.uint8), np.zeros((0, BANDS), np.uint32))
        shingles, bounds = _shingles(flat, offsets)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, bounds, PERMUTATIONS, 0)
        minima = np.array(matrix.to_rows(), dtype=np.uint32)
        rows = minima.reshape(count, BANDS, PERMUTATIONS // BANDS).astype(np.uint64)
        mixed = np.zeros((count, BANDS), np.uint64)
        for row in range(rows.shape[2]):
            mixed = (mixed ^ rows[:, :, row]) * _MULTIPLIERS[0]
            mixed ^= mixed >> np.uint64(29)
        return cls(minima.astype(np.uint8), mixed.astype(np.uint32))

    @classmethod
    def of_columns(cls, minima: pa.ChunkedArray, bands: pa.ChunkedArray) -> Sketches:
        """Sketches that were kept as bytes, those of one document in each row."""
        return cls(_bytes(minima, PERMUTATIONS), _bytes(bands, 4 * BANDS).view(np.uint32))


def _bytes(column: pa.ChunkedArray, width: int) -> NDArray[np.uint8]:
    """A column of binary values of one width as rows of bytes."""
    parts = [
        np.frombuffer(part.buffers()[1], np.uint8, len(part) * width, part.offset * width)
        for part in column.chunks
        if len(part)
    ]
    return np.concatenate([np.zeros(0, np.uint8), *parts]).reshape(-1, width)


def _shingles(
    flat: NDArray[np.uint32], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], list[int]]:
    """Hashes of word triples and where those of each document begin; short ones give one hash."""
    ids = flat.astype(np.uint64) + np.uint64(1)
    lengths = np.diff(offsets)
    sizes = np.maximum(lengths - 2, 1)
    bounds = np.append(0, np.cumsum(sizes))
    padded = np.append(ids, np.zeros(3, np.uint64))
    within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes)
    first = np.repeat(offsets[:-1], sizes) + within
    last = np.repeat(offsets[1:], sizes)
    hashes = np.zeros(len(first), np.uint64)
    for step, multiplier in enumerate(_MULTIPLIERS):
        hashes += np.where(first + step < last, padded[first + step], np.uint64(0)) * multiplier
    return hashes, bounds.tolist()


def clusters(sketches: Sketches) -> NDArray[np.int64]:
    """Cluster of each document: the index of the first document that it nearly equals.

    Two documents are near-duplicates from an estimated Jaccard similarity of 0.8 of their word
    triples on; clusters are closed under that relation.
    """
    parents = np.arange(len(sketches.minima), dtype=np.int64)
    for band in range(BANDS):
        keys = sketches.bands[:, band]
        order = np.argsort(keys, kind="stable")
        repeated = np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1
        if not len(repeated):
            continue
        fresh = np.append(True, keys[order][1:] != keys[order][:-1])
        heads = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
        for before in (heads[repeated], repeated - 1):
            _join_alike(sketches.minima, parents, order[before], order[repeated])
    return parents


def _join_alike(
    minima: NDArray[np.uint8],
    parents: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> None:
    """Join the clusters of those pairs that are alike; every document keeps its root as parent."""
    apart = parents[first] != parents[second]
    first, second = first[apart], second[apart]
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        ones, others = (side[start : start + _PAIRS_AT_ONCE] for side in (first, second))
        agreeing = (minima[ones] == minima[others]).mean(axis=1)
        alike = (agreeing - _CHANCE) / (1 - _CHANCE) >= _SIMILAR
        for one, other in zip(ones[alike].tolist(), others[alike].tolist(), strict=True):
            low, high = sorted((_root(parents, one), _root(parents, other)))
            parents[high] = low
    while np.any((above := parents[parents]) != parents):
        parents[:] = above


def _root(parents: NDArray[np.int64], index: int) -> int:
    while parents[index] != index:
        index = int(parents[index])
    return index


def near_duplicates(documents: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Clusters of documents given as their terms, each below 2³²."""
    offsets = np.fromiter(accumulate(map(len, documents), initial=0), np.int64, len(documents) + 1)
    flat = np.fromiter(chain.from_iterable(documents), np.uint32, int(offsets[-1]))
    return clusters(Sketches.of(flat, offsets))
