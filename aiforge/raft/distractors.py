"""Chunks that stand near one another with an index over their words, and the choice among them."""

from __future__ import annotations

import posixpath
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, cycle, islice

import numpy as np
from numpy.typing import NDArray

from aiforge.raft.bm25 import Bm25
from aiforge.raft.dedup import Sketches, clusters
from aiforge.raft.questions import Rendered
from aiforge.raft.records import Chunk
from aiforge.raft.terms import counted, flat_terms, terms_of
from aiforge.raft.wording import normalise

# In which order the slots of an example are filled: by similarity, by place, by chance.
_MIX = ("hard", "near", "random", "hard")
_QUERY_TERMS = 16
_MIN_WORDS = 8
_ATTEMPTS = 50

Terms = tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.int64]]


@dataclass
class Picked:
    """Distractors of one example, and how alike the most similar one is to the golden chunk.

    ``hardness`` is the best distractor's BM25 score over the golden chunk's, at most 1.
    """

    chunks: list[int]
    hardness: float


@dataclass
class Corpus:
    """Chunks among which distractors are chosen, and what the whole build knows of them.

    Args:
        clusters: Near-duplicate cluster of each chunk, over the whole build.
        useful: Which chunks have enough words to be shown to anyone.
        training: Which chunks training may see.
        terms: Terms of each chunk, as ``terms.counted`` gives them.
    """

    chunks: Sequence[Chunk]
    clusters: NDArray[np.int64]
    useful: NDArray[np.bool_]
    training: NDArray[np.bool_]
    terms: Terms
    _normal_texts: dict[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> Corpus:
        """A corpus of chunks that are all at hand; there must be at least one."""
        flat, offsets = flat_terms(chunk.text for chunk in chunks)
        training = np.array([not chunk.validation for chunk in chunks], np.bool_)
        found = clusters(Sketches.of(flat, offsets))
        return cls(chunks, found, useful(np.diff(offsets)), training, counted(flat, offsets))

    @cached_property
    def index(self) -> Bm25:
        """The index, made when the first distractor is looked for."""
        return Bm25.of(*self.terms)

    @cached_property
    def directories(self) -> dict[str, list[int]]:
        """Chunks by their directory."""
        found: dict[str, list[int]] = defaultdict(list)
        for position, chunk in enumerate(self.chunks):
            found[_directory(chunk)].append(position)
        return dict(found)

    def scores(self, query: str) -> NDArray[np.float32]:
        """BM25 score of every chunk for the rarest words of a query."""
        return self.index.scores(terms_of(query), _QUERY_TERMS)

    def normal_text(self, position: int) -> str:
        """A chunk's text with its white space normalised."""
        if position not in self._normal_texts:
            self._normal_texts[position] = normalise(self.chunks[position].text)
        return self._normal_texts[position]

    def pick(self, oracle: int, rendered: Rendered, count: int, rng: random.Random) -> Picked:
        """Choose up to ``count`` distractors for a question about the chunk ``oracle``.

        The mix is half similar by BM25, a quarter from the same directory, a quarter random.
        None is a near-duplicate of the oracle or of another one, holds the answer, or is held
        out while the oracle is not. Fewer are returned where there are no more.
        """
        query = terms_of(f"{rendered.question} {' '.join(rendered.quotes)}")
        best, scores = self.index.best(query, _QUERY_TERMS, 8 * count + 16)
        sources: dict[str, Iterator[int]] = {
            "hard": iter(best.tolist()),
            "near": self._near(oracle, rng),
            "random": self._random(rng),
        }
        allowed = self._filter(oracle, rendered)
        chosen: list[int] = []
        for kind in islice(cycle(_MIX), count):
            order = [kind, *(other for other in ("hard", "near", "random") if other != kind)]
            found = next(filter(allowed, chain(*(sources[name] for name in order))), None)
            if found is not None:
                chosen.append(found)
        hardest = max((float(scores[position]) for position in chosen), default=0.0)
        return Picked(chosen, min(1.0, hardest / max(float(scores[oracle]), 1e-9)))

    def may_show(self, oracle: int, chosen: Sequence[int]) -> bool:
        """Whether chunks may stand beside an oracle, as far as the rest of the build decides."""
        found = self.clusters[[oracle, *chosen]].tolist()
        if len(set(found)) < len(found) or not self.useful[list(chosen)].all():
            return False
        return bool(not self.training[oracle] or self.training[list(chosen)].all())

    def _filter(self, oracle: int, rendered: Rendered) -> Callable[[int], bool]:
        taken = {int(self.clusters[oracle])}
        held_out = not self.training[oracle]

        def allowed(position: int) -> bool:
            cluster = int(self.clusters[position])
            if cluster in taken or not self.useful[position]:
                return False
            if not (held_out or self.training[position]) or self._answers(position, rendered):
                return False
            taken.add(cluster)
            return True

        return allowed

    def _answers(self, position: int, rendered: Rendered) -> bool:
        text = self.normal_text(position)
        if any(needle in text for needle in rendered.needles):
            return True
        return bool(rendered.names) and all(name in text for name in rendered.names)

    def _near(self, oracle: int, rng: random.Random) -> Iterator[int]:
        beside = self.directories[_directory(self.chunks[oracle])]
        yield from (rng.choice(beside) for _ in range(_ATTEMPTS))

    def _random(self, rng: random.Random) -> Iterator[int]:
        yield from (rng.randrange(len(self.chunks)) for _ in range(_ATTEMPTS))


def useful(words: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which chunks are long enough, by their numbers of words."""
    return words >= _MIN_WORDS


def _directory(chunk: Chunk) -> str:
    return f"{chunk.source_id}/{posixpath.dirname(chunk.path)}"
