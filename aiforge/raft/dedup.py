"""Near-duplicate chunks: MinHash over word triples, banded, then verified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

_PERMUTATIONS = 128
_BANDS = 16  # of 8 rows: pairs with a Jaccard similarity of 0.71 share a band every other time
_SIMILAR = 0.8
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


def near_duplicates(documents: Sequence[Sequence[int]], seed: int = 0) -> NDArray[np.int64]:
    """Cluster of each document: the index of the first document that it nearly equals.

    Two documents are near-duplicates from an estimated Jaccard similarity of 0.8 of their word
    triples on (MinHash, 128 permutations); clusters are closed under that relation.

    Args:
        documents: Word ids of each document.
    """
    parents = np.arange(len(documents), dtype=np.int64)
    if len(documents) < 2:
        return parents
    signatures = _signatures(documents, seed)
    rows = _PERMUTATIONS // _BANDS
    for band in range(_BANDS):
        part = np.ascontiguousarray(signatures[:, band * rows : (band + 1) * rows])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * rows))).ravel()
        order = np.argsort(keys, kind="stable")
        same = np.append(False, keys[order][1:] == keys[order][:-1])
        head = 0
        for position, repeated in enumerate(same.tolist()):
            if not repeated:
                head = position
                continue
            this = int(order[position])
            for other in {int(order[head]), int(order[position - 1])}:
                if _root(parents, this) != _root(parents, other) and _alike(
                    signatures, this, other
                ):
                    _join(parents, this, other)
    return np.array([_root(parents, index) for index in range(len(parents))], dtype=np.int64)


def _signatures(documents: Sequence[Sequence[int]], seed: int) -> NDArray[np.uint32]:
    hashes: list[NDArray[np.uint64]] = []
    offsets = [0]
    for document in documents:
        ids = np.asarray(document, dtype=np.uint64) + np.uint64(1)
        if len(ids) >= 3:
            triples = np.stack([ids[:-2], ids[1:-1], ids[2:]], axis=1)
            shingles = np.unique((triples * _MULTIPLIERS).sum(axis=1, dtype=np.uint64))
        else:
            shingles = ids.sum(keepdims=True) * _MULTIPLIERS[:1]
        hashes.append(shingles)
        offsets.append(offsets[-1] + len(shingles))
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(hashes), offsets, _PERMUTATIONS, seed
    )
    return np.asarray(matrix.to_rows(), dtype=np.uint32)


def _alike(signatures: NDArray[np.uint32], first: int, second: int) -> bool:
    return bool(np.mean(signatures[first] == signatures[second]) >= _SIMILAR)


def _root(parents: NDArray[np.int64], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = int(parents[index])
    return index


def _join(parents: NDArray[np.int64], first: int, second: int) -> None:
    low, high = sorted((_root(parents, first), _root(parents, second)))
    parents[high] = low
