"""CodeBLEU equals the package ``codebleu`` 0.7.0, but for that one's faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_codebleu_scores import SNIPPETS, pairs

from aiforge.evaluation.codebleu import LANGUAGES, codebleu, lex, strip_comments

SCORES: list[dict[str, float] | None] = json.loads(
    (Path(__file__).parent / "codebleu_scores.json").read_text(encoding="utf-8")
)
SNIPPET = "def add(a, b):\n    total = a + b\n    return total\n"


def test_the_scores_are_the_reference_s() -> None:
    compared = set()
    for pair, wanted in zip(pairs(), SCORES, strict=True):
        if wanted is None:
            continue

        ours = codebleu(pair["reference"], pair["candidate"], pair["language"], str.split)

        close = pytest.approx
        assert ours.ngram == close(wanted["ngram_match_score"], abs=1e-6), pair
        assert ours.weighted_ngram == close(wanted["weighted_ngram_match_score"], abs=1e-6), pair
        assert ours.syntax == close(wanted["syntax_match_score"], abs=1e-6), pair
        if wanted["dataflow_match_score"] > 0:
            assert ours.data_flow == close(wanted["dataflow_match_score"], abs=1e-6), pair
            assert ours.score == close(wanted["codebleu"], abs=1e-6), pair
            compared.add((pair["language"], pair["reference"], pair["candidate"]))
    assert len(compared) > 80
    assert {language for language, *_ in compared} == LANGUAGES


@pytest.mark.parametrize("candidate", ["", "   \n", "# only a comment", ")))) ((("])
def test_what_is_no_code_scores_nothing(candidate: str) -> None:
    assert codebleu(SNIPPET, candidate, "python").score == 0


def test_no_data_flow_in_common_counts_as_none() -> None:
    ours = codebleu(SNIPPET, "import os\n", "python")

    assert ours.data_flow == 0
    assert ours.score < 0.25


def test_a_reference_without_data_flow_leaves_nothing_to_compare() -> None:
    ours = codebleu("import os\n", "import os\n", "python")

    assert ours.data_flow == 1


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_code_is_most_like_itself(language: str) -> None:
    for reference in SNIPPETS[language]:
        assert codebleu(reference, reference, language).score == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(LANGUAGES)), st.text(max_size=200), st.text(max_size=200))
def test_any_text_gets_a_score(language: str, reference: str, candidate: str) -> None:
    ours = codebleu(reference, candidate, language)

    for part in (ours.score, ours.ngram, ours.weighted_ngram, ours.syntax, ours.data_flow):
        assert 0 <= part <= 1 + 1e-9


def test_deep_nesting_ends_no_run() -> None:
    deep = "x = " + "(" * 3000 + "1" + ")" * 3000

    assert 0 <= codebleu(deep, deep, "python").score <= 1


def test_tokens_are_the_lexer_s() -> None:
    assert lex("x[i]+=1 # note", "python") == ["x", "[", "i", "]", "+=", "1"]
    assert lex("é = 'ü'", "python")[:2] == ["é", "="]


def test_comments_and_docstrings_go() -> None:
    source = 'def f():\n    """Doc."""\n    return "#"  # why\n'

    assert strip_comments(source, "python") == 'def f():\n    return "#"  '
    assert strip_comments('int x; // y\nchar *s = "//";', "c") == 'int x;  \nchar *s = "//";'
    assert strip_comments("def (:\n 'open", "python") == "def (:\n 'open"
