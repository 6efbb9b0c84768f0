"""BM25 over hashed terms: postings in three arrays, made by one sort (Robertson & Zaragoza, 2009).

Documents come as the arrays in which chunks are stored, and a query asks for its best documents
alone. Libraries take lists of words and score every document for every query, which for thousands
of queries costs several times as much as all the rest of a build.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_K1 = 1.5
_B = 0.75
_NUMBER = 24  # bits for a document's number beside 32 for the term and 8 for the frequency
MAX_DOCUMENTS = 1 << _NUMBER


@dataclass(frozen=True)
class Bm25:
    """Postings of each term: ``documents`` and ``weights`` from ``starts[i]`` to the next."""

    terms: NDArray[np.uint32]
    starts: NDArray[np.int64]
    documents: NDArray[np.int32]
    weights: NDArray[np.float32]
    size: int

    @classmethod
    def of(
        cls,
        terms: NDArray[np.uint32],
        frequencies: NDArray[np.uint8],
        offsets: NDArray[np.int64],
    ) -> Bm25:
        """Index documents, given as ``terms.counted`` gives them; at most ``MAX_DOCUMENTS``."""
        size = len(offsets) - 1
        owners = np.repeat(np.arange(size, dtype=np.uint64), np.diff(offsets))
        high = np.uint64(_NUMBER + 8)
        keys = (terms.astype(np.uint64) << high) | (owners << np.uint64(8)) | frequencies
        keys.sort()
        sorted_terms = (keys >> high).astype(np.uint32)
        documents = ((keys >> np.uint64(8)) & np.uint64(MAX_DOCUMENTS - 1)).astype(np.int32)
        often = (keys & np.uint64(255)).astype(np.float32)
        lengths = np.bincount(owners.astype(np.int64), frequencies, minlength=size)
        norm = _K1 * (1 - _B + _B * lengths / max(float(lengths.mean()), 1e-9))
        firsts = np.flatnonzero(np.append(True, sorted_terms[1:] != sorted_terms[:-1]))
        firsts = firsts if len(keys) else np.zeros(0, np.int64)
        starts = np.append(firsts, len(keys))
        held = np.diff(starts)
        rarity = np.log1p((size - held + 0.5) / (held + 0.5))
        weights = np.repeat(rarity, held) * often * (_K1 + 1) / (often + norm[documents])
        return cls(
            sorted_terms[firsts], starts, documents, weights.astype(np.float32), max(size, 1)
        )

    def rarest(self, query: Iterable[int], most: int) -> list[int]:
        """Places of the query's rarest terms that any document holds; the term settles a tie."""
        known = self.places
        found = sorted(
            (held, place) for term in set(query) if term in known for held, place in (known[term],)
        )
        return [place for _, place in found[:most]]

    @cached_property
    def bounds(self) -> list[int]:
        """``starts`` as plain numbers."""
        found: list[int] = self.starts.tolist()
        return found

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """For each term, how many documents hold it, and its place."""
        held = np.diff(self.starts).tolist()
        return dict(zip(self.terms.tolist(), zip(held, range(len(held)), strict=True), strict=True))

    def best(
        self, query: Iterable[int], most_terms: int, count: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The documents that score best for a query's rarest terms, best first; all scores.

        Equal scores come in the order of the documents. Those that score nothing are left out.
        """
        places = self.rarest(query, most_terms)
        if not places:
            return np.zeros(0, np.int32), np.zeros(self.size, np.float32)
        ranges = [slice(*self.bounds[place : place + 2]) for place in places]
        documents = np.concatenate([self.documents[part] for part in ranges])
        weights = np.concatenate([self.weights[part] for part in ranges])
        scores = np.bincount(documents, weights, minlength=self.size).astype(np.float32)
        found = np.flatnonzero(scores > 0).astype(np.int32)
        reached = scores[found]
        if len(found) > count:
            least = np.partition(reached, len(found) - count)[len(found) - count]
            found = found[reached >= least]
        order = np.lexsort((found, -scores[found]))[:count]
        return found[order], scores

    def scores(self, query: Iterable[int], most_terms: int) -> NDArray[np.float32]:
        """The score of every document for a query's rarest terms."""
        total = np.zeros(self.size, np.float32)
        for place in self.rarest(query, most_terms):
            part = slice(self.starts[place], self.starts[place + 1])
            total[self.documents[part]] += self.weights[part]
        return total
