"""The chunks of a corpus with a BM25 index, and the choice of distractors among them."""

from __future__ import annotations

import posixpath
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle, islice

import bm25s
import numpy as np
from numpy.typing import NDArray

from aiforge.raft.dedup import near_duplicates
from aiforge.raft.questions import Rendered
from aiforge.raft.records import Chunk
from aiforge.raft.wording import normalise, words

# In which order the slots of an example are filled: by similarity, by place, by chance.
_MIX = ("hard", "near", "random", "hard")
_QUERY_TERMS = 16
_MIN_WORDS = 8
_ATTEMPTS = 50


@dataclass
class Picked:
    """Distractors of one example, and how alike the most similar one is to the golden chunk.

    ``hardness`` is the best distractor's BM25 score over the golden chunk's, at most 1.
    """

    chunks: list[int]
    hardness: float


@dataclass
class Corpus:
    """All chunks of a build, what is known of them together, and an index over their words."""

    chunks: list[Chunk]
    clusters: NDArray[np.int64]
    vocabulary: dict[str, int]
    index: bm25s.BM25
    useful: NDArray[np.bool_]
    training: NDArray[np.bool_]
    directories: dict[str, list[int]]
    normal_texts: dict[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, chunks: Sequence[Chunk], seed: int) -> Corpus:
        """Index chunks; there must be at least one."""
        texts = [words(chunk.text) for chunk in chunks]
        unique = dict.fromkeys(chain.from_iterable(texts))
        vocabulary = {word: number for number, word in enumerate(unique)}
        documents = [list(map(vocabulary.__getitem__, text)) for text in texts]
        index = bm25s.BM25()
        filler = vocabulary.setdefault("", len(vocabulary))
        index.index(([d or [filler] for d in documents], vocabulary), show_progress=False)
        directories: dict[str, list[int]] = defaultdict(list)
        for position, chunk in enumerate(chunks):
            directories[_directory(chunk)].append(position)
        return cls(
            list(chunks),
            near_duplicates(documents, seed),
            vocabulary,
            index,
            np.array([len(document) >= _MIN_WORDS for document in documents]),
            np.array([not chunk.validation for chunk in chunks]),
            dict(directories),
        )

    def scores(self, query: str) -> NDArray[np.float32]:
        """BM25 score of every chunk for the rarest words of a query."""
        known = {self.vocabulary[word] for word in words(query) if word in self.vocabulary}
        pointers = self.index.scores["indptr"]
        rarest = sorted(known, key=lambda term: (int(pointers[term + 1] - pointers[term]), term))
        scores: NDArray[np.float32] = self.index.get_scores_from_ids(rarest[:_QUERY_TERMS])
        return scores

    def normal_text(self, position: int) -> str:
        """A chunk's text with its white space normalised."""
        if position not in self.normal_texts:
            self.normal_texts[position] = normalise(self.chunks[position].text)
        return self.normal_texts[position]

    def pick(self, oracle: int, rendered: Rendered, count: int, rng: random.Random) -> Picked:
        """Choose up to ``count`` distractors for a question about the chunk ``oracle``.

        The mix is half similar by BM25, a quarter from the same directory, a quarter random.
        None is a near-duplicate of the oracle or of another one, holds the answer, or is held
        out while the oracle is not. Fewer are returned where there are no more.
        """
        scores = self.scores(f"{rendered.question} {' '.join(rendered.quotes)}")
        sources: dict[str, Iterator[int]] = {
            "hard": self._hard(scores, count),
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
        best = max((float(scores[position]) for position in chosen), default=0.0)
        return Picked(chosen, min(1.0, best / max(float(scores[oracle]), 1e-9)))

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

    def _hard(self, scores: NDArray[np.float32], count: int) -> Iterator[int]:
        most = min(len(scores), 8 * count + 16)
        top = np.argpartition(-scores, most - 1)[:most]
        for position in top[np.lexsort((top, -scores[top]))]:
            if scores[position] > 0:
                yield int(position)

    def _near(self, oracle: int, rng: random.Random) -> Iterator[int]:
        beside = self.directories[_directory(self.chunks[oracle])]
        yield from (rng.choice(beside) for _ in range(_ATTEMPTS))

    def _random(self, rng: random.Random) -> Iterator[int]:
        yield from (rng.randrange(len(self.chunks)) for _ in range(_ATTEMPTS))


def _directory(chunk: Chunk) -> str:
    return f"{chunk.source_id}/{posixpath.dirname(chunk.path)}"
