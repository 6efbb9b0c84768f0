"""Distractors: similar, never the oracle, its copies, the answer, or what is held out."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from corpora import ANIMALS, corpus_files, module
from hypothesis import given, settings
from hypothesis import strategies as st
from test_questions import chunks_of

from aiforge.raft.dedup import near_duplicates
from aiforge.raft.distractors import Corpus
from aiforge.raft.drafting import draft_questions
from aiforge.raft.questions import Rendered, render
from aiforge.raft.tokens import TokenCounter
from aiforge.raft.wording import normalise


def question(text: str, needles: list[str] | None = None) -> Rendered:
    return Rendered(text, "", [], needles or [])


def test_rules_hold_for_every_question(counter: TokenCounter) -> None:
    files = corpus_files() | {"copy/badger.py": module("badger")}
    chunks = [
        replace(chunk, validation="heron" in chunk.path) for chunk in chunks_of(files, counter)
    ]
    corpus = Corpus.of(chunks)
    drafts, _ = draft_questions(chunks, corpus.clusters, seed=0)
    assert len(drafts) > 50
    for draft in drafts:
        rendered = render(draft, chunks[draft.chunk], seed=0)
        picked = corpus.pick(draft.chunk, rendered, 5, random.Random(1))
        assert len(picked.chunks) == 5
        clusters = [corpus.clusters[index] for index in (draft.chunk, *picked.chunks)]
        assert len(set(clusters)) == len(clusters)
        for index in picked.chunks:
            text = normalise(chunks[index].text)
            assert not any(needle in text for needle in rendered.needles)
            assert draft.validation or not chunks[index].validation
        assert 0 <= picked.hardness <= 1


def test_the_mix_is_hard_near_and_random(counter: TokenCounter) -> None:
    corpus = Corpus.of(chunks_of(corpus_files(), counter))
    oracle = next(i for i, chunk in enumerate(corpus.chunks) if "def count_badgers" in chunk.text)
    rendered = question("count each badger in the fields", ["Count each badger"])
    near = hard = 0
    for seed in range(30):
        picked = corpus.pick(oracle, rendered, 4, random.Random(seed))
        hard += any("badger" in corpus.chunks[index].text for index in picked.chunks)
        near += any(corpus.chunks[index].path.startswith("zoo/") for index in picked.chunks)
    assert hard == 30
    assert near == 30


def test_a_small_corpus_gives_fewer(counter: TokenCounter) -> None:
    corpus = Corpus.of(chunks_of({"a.py": module("badger")}, counter, cap=500))
    picked = corpus.pick(0, question("badger"), 8, random.Random(0))
    assert len(picked.chunks) < 8
    assert 0 not in picked.chunks
    alone = Corpus.of(chunks_of({"a.py": "x = 1\n"}, counter))
    assert alone.pick(0, question("x"), 3, random.Random(0)).chunks == []


def test_picks_follow_from_the_seed(counter: TokenCounter) -> None:
    corpus = Corpus.of(chunks_of(corpus_files(), counter))
    rendered = question("feed one ferret")
    picks = [corpus.pick(3, rendered, 4, random.Random(seed)).chunks for seed in (1, 1, 2, 3, 4)]
    assert picks[0] == picks[1]
    assert len({tuple(pick) for pick in picks}) > 1


def test_near_duplicates_are_found_and_others_are_not() -> None:
    rng = random.Random(0)
    base = [rng.randrange(10_000) for _ in range(200)]
    changed = [*base[:100], -0 + 77, *base[101:]]
    other = [rng.randrange(10_000) for _ in range(200)]
    half = [*base[:100], *other[:100]]
    clusters = near_duplicates([other, base, changed, list(base), half, [1], [1], [2], []])
    assert clusters.tolist() == [0, 1, 1, 1, 4, 5, 5, 7, 8]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=12))
def test_clusters_are_named_by_their_first_document(documents: list[list[int]]) -> None:
    clusters = near_duplicates(documents)
    assert len(clusters) == len(documents)
    assert all(clusters[head] == head <= index for index, head in enumerate(clusters))
    for index, document in enumerate(documents):
        first = documents.index(document)
        assert clusters[first] == clusters[index]


@pytest.mark.parametrize("query", ["", "zzzz unknown words", "the"])
def test_any_query_can_be_scored(counter: TokenCounter, query: str) -> None:
    corpus = Corpus.of(chunks_of({"a.md": f"# {ANIMALS[0]}\n\nThe text.\n"}, counter))
    assert np.isfinite(corpus.scores(query)).all()
