"""Questions and answers: grounded in their chunk, unambiguous, and stable by seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from corpora import corpus_files, module
from hypothesis import given
from hypothesis import strategies as st

from aiforge.languages import language_of, parse
from aiforge.raft.answers import compose, holds_markers, parse_answer, quote
from aiforge.raft.distractors import Corpus
from aiforge.raft.drafting import balanced, draft_questions
from aiforge.raft.formats import render_row
from aiforge.raft.questions import KINDS, Unanswerable, local_kinds, render
from aiforge.raft.records import Chunk, Draft, Fact
from aiforge.raft.split import FileKey, validation_files
from aiforge.raft.stages import Block, chunk_file
from aiforge.raft.symbols import find_symbols
from aiforge.raft.tokens import TokenCounter
from aiforge.raft.wording import first_prose, first_sentence, normalise, sentences, words

FROM_ELSEWHERE = {"commit", "teacher"}
BLOCK = Block("", "src-1", "c0ffee", frozenset(), 1)


def chunks_of(files: dict[str, str], counter: TokenCounter, cap: int = 200) -> list[Chunk]:
    found: list[Chunk] = []
    for path, text in sorted(files.items()):
        row = {
            "path": path,
            "content": text,
            "language": language_of(path, text),
            "blob": path,
            "license": None,
        }
        found += chunk_file(row, BLOCK, counter, cap)
    return found


@pytest.fixture(scope="module")
def corpus(counter: TokenCounter) -> Corpus:
    return Corpus.of(chunks_of(corpus_files(), counter))


def test_every_kind_is_asked_and_every_quote_is_verbatim(corpus: Corpus) -> None:
    drafts, report = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    assert {draft.kind for draft in drafts} == set(KINDS) - FROM_ELSEWHERE
    assert report.left == len(drafts)
    assert report.entered == report.left + sum(report.dropped.values())
    for draft in drafts:
        chunk = corpus.chunks[draft.chunk]
        rendered = render(draft, chunk, seed=0)
        answer = parse_answer(rendered.output)
        assert answer is not None
        assert answer.quotes == rendered.quotes
        for passage in answer.quotes:
            assert normalise(passage) in normalise(chunk.text)


def test_answers_are_true(corpus: Corpus) -> None:
    drafts, _ = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    answers: dict[tuple[str, str], str] = {}
    for draft in drafts:
        fact = corpus.chunks[draft.chunk].facts[draft.fact]
        parsed = parse_answer(render(draft, corpus.chunks[draft.chunk], 0).output)
        assert parsed
        answers[(draft.kind, draft.target or fact.qualified)] = parsed.answer
    assert answers["docstring", "BadgerKeeper"] == (
        "Keeps every badger in one place and remembers how many there are."
    )
    assert answers["signature", "count_heron" + "s"] == (
        "`count_herons` takes `fields: list[str]`, `limit: int | None = None` and returns `int`."
    )
    assert answers["which", "report_egret"] == "`report_egret` in zoo/egret.py"
    assert answers["caller", "count_ferrets"] == (
        "`report_ferret` in zoo/ferret.py calls `count_ferrets`."
    )
    assert "assert count_badgers(fields) == 2" in answers["usage", "count_badgers"]
    assert answers["section", "Care of a egret"].startswith("Feed the egret twice a day")


def test_the_gap_and_the_missing_lines_make_the_function_again(corpus: Corpus) -> None:
    drafts, _ = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    infills = [draft for draft in drafts if draft.kind == "infill"]
    assert infills
    for draft in infills:
        chunk = corpus.chunks[draft.chunk]
        rendered = render(draft, chunk, seed=3)
        holed = rendered.question.partition("```python\n")[2].rpartition("\n```")[0]
        missing = rendered.output.partition("```python\n")[2].rpartition("\n```")[0]
        assert holed.replace("<FILL>", missing) == chunk.facts[draft.fact].code
        assert '"""' not in missing
        assert not rendered.needs_golden


def test_phrasings_vary_and_follow_from_the_seed(corpus: Corpus) -> None:
    drafts, _ = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    draft = next(draft for draft in drafts if draft.kind == "docstring")
    chunk = corpus.chunks[draft.chunk]
    asked = {seed: render(draft, chunk, seed).question for seed in range(12)}
    assert len(set(asked.values())) > 3
    assert all(render(draft, chunk, seed).question == text for seed, text in asked.items())


def test_names_that_are_declared_twice_are_asked_for_with_their_file(counter: TokenCounter) -> None:
    twice = {"a/x.py": module("badger"), "b/x.py": module("badger").replace("0.5", "0.6")}
    corpus = Corpus.of(chunks_of(twice, counter))
    drafts, report = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    named = [draft for draft in drafts if draft.kind in ("docstring", "signature")]
    assert named
    for draft in named:
        chunk = corpus.chunks[draft.chunk]
        assert draft.ambiguous
        assert chunk.path in render(draft, chunk, seed=0).question
    assert not any(draft.kind in ("which", "usage", "caller") for draft in drafts)
    assert report.dropped["several have this description"] > 0
    assert report.dropped["near-duplicate of another question"] > 0


def test_only_calls_that_mean_one_definition_count(counter: TokenCounter) -> None:
    text = (
        "def unique_name(a):\n    return a.other_name(a)\n\n\n"
        "def other_name(a):\n    return 1 + a\n\n\n"
        "def caller_one(a):\n    return unique_name(a)\n"
    )
    corpus = Corpus.of(chunks_of({"a.py": text}, counter))
    drafts, _ = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    assert [draft.target for draft in drafts if draft.kind == "caller"] == ["unique_name"]


def test_text_that_looks_like_an_answer_is_not_used() -> None:
    fact = Fact("function", "f", "f", doc="Writes ##Answer: into every text it gets.", whole=True)
    chunk = Chunk("c", "s", "a.py", "c", "python", None, "b", 1, 2, fact.doc, 9, False, [fact])
    with pytest.raises(Unanswerable, match="markers"):
        render(Draft("d", "docstring", 0, 0), chunk, 0)
    moved = replace(chunk, text="Something else.")
    with pytest.raises(Unanswerable, match="not in the chunk"):
        render(Draft("d", "docstring", 0, 0), moved, 0)


def test_what_says_too_little_is_not_asked() -> None:
    assert local_kinds(Fact("function", "f", "f")) == []
    assert local_kinds(Fact("function", "f", "f", doc="Init.")) == []
    assert local_kinds(Fact("function", "f", "f", doc="Do it well.")) == ["docstring"]
    assert local_kinds(Fact("function", "f", "g.f", doc="Do it well.", nested=True)) == []
    assert local_kinds(Fact("section", "T", "T", doc="Too short.")) == []


def test_balanced_takes_the_kinds_in_turn() -> None:
    drafts = [Draft(f"d{i}", "docstring", i, 0) for i in range(10)]
    drafts += [Draft(f"s{i}", "section", i, 0) for i in range(2)]
    order = list(balanced(drafts, seed=1))
    assert [draft.kind for draft in order[:5]] == ["docstring", "section"] * 2 + ["docstring"]
    assert sorted(order, key=lambda d: d.id) == sorted(drafts, key=lambda d: d.id)
    assert order == list(balanced(drafts[::-1], seed=1))
    assert order != list(balanced(drafts, seed=2))


@given(st.text(min_size=1), st.text(min_size=1))
def test_what_is_composed_can_be_taken_apart(passage: str, answer: str) -> None:
    passage, answer = normalise(passage), answer.strip()
    if not passage or not answer or holds_markers(passage) or holds_markers(answer):
        return
    parsed = parse_answer(compose(f"It says {quote(passage)}.", answer))
    assert parsed
    assert parsed.quotes == [passage]
    assert parsed.answer == answer


@pytest.mark.parametrize(
    "output",
    [
        *("", "text", "##Answer: a", "##Reason: a", "##Answer: a\n##Reason: b"),
        "##Reason: ##begin_quote## x\n##Answer: a",
        "##Reason: x ##end_quote##\n##Answer: a",
        "##Reason: x\n##Answer: a ##end_quote##",
    ],
)
def test_broken_answers_are_told(output: str) -> None:
    assert parse_answer(output) is None


def test_words_and_sentences() -> None:
    assert words("readHTTPResponse of my_file2 ÄÖ") == [
        *("read", "http", "response", "of", "my", "file2", "äö")
    ]
    assert first_sentence("See e.g. this one. And more.") == "See e.g. this one."
    assert sentences("One is here. Two is\nthere. Three.", 6) == "One is here. Two is there."
    assert (
        sentences("A very long first sentence of all.", 2) == "A very long first sentence of all."
    )


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("Plain text\nover lines.\n\nMore.", "Plain text\nover lines."),
        ("```sh\nrun\n\nthis\n```\n\nThen read.", "Then read."),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n\nA table.", "A table."),
        ("[![badge](x)](y)\n![image](z)\n\nText.", "Text."),
        (".. note::\n\n    code\n\nText.", "Text."),
        ("```\nnever closed", ""),
        ("- one\n- two", "- one\n- two"),
        ("", ""),
    ],
)
def test_sections_are_asked_about_their_prose(text: str, prose: str) -> None:
    assert first_prose(text) == prose


def test_formats_render_the_same_row() -> None:
    row = {"instruction": "Q?", "input": "docs", "output": "A."}
    assert render_row(row, "alpaca") == row
    assert render_row(row, "chat")["messages"][0] == {"role": "user", "content": "docs\n\nQ?"}
    assert render_row(row, "sharegpt")["conversations"][1] == {"from": "gpt", "value": "A."}
    assert render_row(row, "completion") == {"prompt": "docs\n\nQ?\n\n", "completion": "A."}


def test_a_gap_becomes_a_completion_in_the_middle(corpus: Corpus) -> None:
    drafts, _ = draft_questions(corpus.chunks, corpus.clusters, seed=0)
    draft = next(draft for draft in drafts if draft.kind == "infill")
    rendered = render(draft, corpus.chunks[draft.chunk], seed=0)
    row = {
        "kind": "infill",
        "instruction": rendered.question,
        "input": "",
        "output": rendered.output,
    }
    made = render_row(row, "completion")
    before, _, rest = made["prompt"].removeprefix("<|fim_prefix|>").partition("<|fim_suffix|>")
    after = rest.removesuffix("<|fim_middle|>")
    code = corpus.chunks[draft.chunk].facts[draft.fact].code
    assert f"{before}{made['completion']}{after}" == code


def _keys(count: int) -> list[FileKey]:
    return [FileKey("s", f"{i}.py", f"blob{i}", "python") for i in range(count)]


@given(st.integers(2, 60), st.floats(0.01, 0.9), st.integers(0, 5))
def test_the_split_holds_out_some_and_not_all(count: int, fraction: float, seed: int) -> None:
    held_out = validation_files(_keys(count), fraction, seed)
    assert 1 <= len(held_out) < count
    assert held_out == validation_files(_keys(count)[::-1], fraction, seed)


def test_the_split_is_stable_and_keeps_copies_together() -> None:
    files = _keys(400)
    held_out = validation_files(files, 0.1, 0)
    assert 20 <= len(held_out) <= 60
    more = [*files, FileKey("t", "copy.py", "blob7", "python"), *_keys(450)[400:]]
    again = validation_files(more, 0.1, 0)
    assert again >= held_out
    assert (("t", "copy.py") in again) == (("s", "7.py") in again)
    assert validation_files(files, 0.0, 0) == frozenset()
    assert validation_files([*_keys(1), FileKey("s", "a.json", "x", "json")], 0.5, 0) == frozenset()


SAMPLES = {
    "python": ("def f(a: int) -> str:\n    '''Doc of f.'''\n    g(a)\n", "f", ["a: int"], "str"),
    "go": (
        "package a\n// Doc of f.\nfunc f(a int) string { return g(a) }\n",
        "f",
        ["a int"],
        "string",
    ),
    "rust": ("/// Doc of f.\nfn f(a: u8) -> u8 { g(a) }\n", "f", ["a: u8"], "u8"),
    "c": ("/* Doc of f. */\nchar *f(int a) { return g(a); }\n", "f", ["int a"], "char"),
    "java": (
        "class A { /** Doc of f. */\n int f(int a) { return g(a); } }\n",
        "A.f",
        ["int a"],
        "int",
    ),
    "javascript": ("// Doc of f.\nfunction f(a) { return g(a); }\n", "f", ["a"], ""),
    "typescript": ("// Doc of f.\nfunction f(a: X): Y { return g(a); }\n", "f", ["a: X"], "Y"),
    "csharp": (
        "class A {\n  /// <summary>Doc of f.</summary>\n  string f(int a) { return g(a); }\n}\n",
        "A.f",
        ["int a"],
        "string",
    ),
    "ruby": ("class A\n  # Doc of f.\n  def f(a)\n    g(a)\n  end\nend\n", "A.f", ["a"], ""),
    "php": (
        "<?php\n/** Doc of f. */\nfunction f(int $a): string { return g($a); }\n",
        "f",
        ["int $a"],
        "string",
    ),
    "shell": ('# Doc of f.\nf() {\n  g "$1"\n}\n', "f", [], ""),
    "cpp": ("// Doc of f.\nint A::f(int a) { return g(a); }\n", "A.f", ["int a"], "int"),
}


@pytest.mark.parametrize("language", SAMPLES)
def test_symbols_of_each_language(language: str) -> None:
    text, name, parameters, returns = SAMPLES[language]
    symbols = find_symbols(text, language, parse(language, text.encode()))
    found = next(symbol for symbol in symbols if symbol.kind == "function")
    assert (found.qualified, found.parameters, found.returns) == (name, parameters, returns)
    assert found.doc == "Doc of f."
    assert found.calls == ["g"]
