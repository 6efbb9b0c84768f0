"""Counts of tokens by the model alone, against those of the whole tokenizer."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aiforge.raft.tokens import TokenCounter

PIECES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def described(tokenizer_json: str, **changes: Any) -> str:
    return json.dumps(json.loads(tokenizer_json) | changes)


@given(text=PIECES)
def test_the_model_counts_what_the_tokenizer_counts(counter: TokenCounter, text: str) -> None:
    expected = counter.exact([text])[0]
    # Contractions, which the tokenizer splits otherwise, can only be counted too high.
    assert counter.count([text])[0] >= expected
    if "'" not in text:
        assert counter.count([text])[0] == expected


def test_tokens_that_were_added_to_the_vocabulary_are_counted(tokenizer_json: str) -> None:
    added = {"id": 9000, "content": "walrus", "single_word": False, "lstrip": False}
    added |= {"rstrip": False, "normalized": False, "special": False}
    known = json.loads(tokenizer_json)["added_tokens"]
    counter = TokenCounter(described(tokenizer_json, added_tokens=[*known, added]))
    text = "the walrus eats\nwalrus\n"
    assert counter.exact(["walrus"]) == [1]
    assert counter.count([text]) == counter.exact([text])


def test_a_vocabulary_without_some_bytes_is_counted_by_the_whole_tokenizer(
    tokenizer_json: str,
) -> None:
    model = json.loads(tokenizer_json)["model"]
    vocabulary = {sign: number for sign, number in model["vocab"].items() if sign != "\u0100"}
    counter = TokenCounter(described(tokenizer_json, model=model | {"vocab": vocabulary}))
    text = "def first(items):\n    return items[0]\n"
    assert counter.count([text]) == counter.exact([text])
