"""Chunks: they cover the file, none exceeds its cap, and what fits stays whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpora import module
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from tree_sitter import Node

import aiforge
from aiforge import languages
from aiforge.languages import language_of, parse
from aiforge.raft.chunking import Span, chunk_ids, split_file
from aiforge.raft.headings import find_headings
from aiforge.raft.pieces import BYTE_LEVEL_PIECE, PIECE, Numbers
from aiforge.raft.symbols import find_symbols
from aiforge.raft.tokens import TokenCounter

SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LANGUAGES = (
    *("csharp", "ruby", "php", "shell", "tsx", "pdf", "text"),
    *("python", "javascript", "c", "go", "rust", "java", "typescript", "cpp"),
)
SOURCE = st.one_of(
    st.text(max_size=1500),
    st.lists(
        st.sampled_from(
            [
                *("def f(x):", "    return x", "class A:", "    def g(self):", "        pass", ""),
                *("{", "}", "int main() {", "/* comment", "*/", "# héading", "- item", "```", "\t"),
                *("x = '" + "ab " * 90 + "'", "if (a) { b(); }", "漢字かな" * 20, "\f", "'''"),
            ]
        ),
        max_size=80,
    ).map("\n".join),
)


def split(text: str, language: str | None, counter: TokenCounter, cap: int) -> list[Span]:
    tree = parse(language, text.encode()) if language and language != "markdown" else None
    return split_file(text, language, tree, counter, cap)


def check(text: str, spans: list[Span], counter: TokenCounter, cap: int) -> None:
    data = text.encode()
    assert b"".join(data[span.start : span.end] for span in spans) == data
    assert all(size <= cap for size in counter.exact([span.text for span in spans]))
    lines = text.split("\n")
    for span in spans:
        inside = "\n".join(lines[span.start_line - 1 : span.end_line])
        assert span.text in inside
        assert span.text == span.text.rstrip(" \t\n\r\f\v")


@SLOW
@given(SOURCE, st.sampled_from([None, "markdown", "rst", *LANGUAGES]), st.integers(32, 200))
def test_any_text_is_covered_below_the_cap(
    counter: TokenCounter, text: str, language: str | None, cap: int
) -> None:
    text = text.encode("utf-8", "replace").decode()
    check(text, split(text, language, counter, cap), counter, cap)
    tree = parse(language or "", text.encode())
    for symbol in find_symbols(text, language, tree):
        assert 0 <= symbol.start <= symbol.head_start <= symbol.head_end <= symbol.end
        assert symbol.end <= len(text.encode())


def _tokenizer(kind: str) -> Tokenizer:
    texts = [path.read_text() for path in Path(aiforge.__file__).parent.glob("*.py")]
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordPieceTrainer(
            vocab_size=1000, special_tokens=["[UNK]"], show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE(ignore_merges=True))
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=1000,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@SLOW
@given(
    st.text(st.sampled_from("  \n\t\x1c\u00a0ab_'0²٣é漢+—😀"), max_size=40) | st.text(max_size=200)
)
def test_files_fall_into_the_pieces_of_the_pattern(text: str) -> None:
    for pattern in (PIECE, BYTE_LEVEL_PIECE):
        numbers = Numbers(pattern)
        found, starts = numbers.of(text)
        pieces = [numbers.fresh[number] for number in found]
        assert pieces == pattern.findall(text)
        assert starts.tolist() == [match.start() for match in pattern.finditer(text)]


@SLOW
@given(
    st.lists(
        st.text(st.sampled_from(" \n\tab0é漢+—"), max_size=12)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        max_size=8,
    )
)
def test_texts_that_are_counted_together_count_as_each_does_alone(
    counter: TokenCounter, texts: list[str]
) -> None:
    assert counter.count(texts) == [counter.count([text])[0] for text in texts]


def test_many_pieces_keep_their_numbers() -> None:
    numbers = Numbers(PIECE)
    text = " ".join(f"w{number}" for number in range(90_000))
    first, _ = numbers.of(text)
    again, _ = numbers.of(text)
    assert len(set(first.tolist())) == len(numbers) == 90_000
    assert first.tolist() == again.tolist()


@pytest.mark.parametrize("kind", ["llama3", "wordpiece"])
def test_the_cap_holds_for_other_families_of_tokenizers(kind: str) -> None:
    counter = TokenCounter(_tokenizer(kind).to_str())
    for path in sorted((Path(aiforge.__file__).parent / "raft").glob("*.py")):
        text = path.read_text()
        check(text, split(text, "python", counter, 96), counter, 96)


@pytest.mark.parametrize("cap", [64, 160, 512])
def test_functions_that_fit_stay_whole(counter: TokenCounter, cap: int) -> None:
    fitting = 0
    for path in sorted(Path(aiforge.__file__).parent.glob("*/*.py"))[:40]:
        text = path.read_text()
        data = text.encode()
        spans = split(text, "python", counter, cap)
        check(text, spans, counter, cap)
        for node in _functions(parse("python", data).root_node):  # type: ignore[union-attr]
            start = data.rfind(b"\n", 0, node.start_byte) + 1
            if counter.exact([data[start : node.end_byte].decode()])[0] <= cap:
                fitting += 1
                assert any(s.start <= node.start_byte and node.end_byte <= s.end for s in spans)
    assert fitting > 20


def _functions(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        found = stack.pop()
        stack.extend(found.children)
        if found.type == "function_definition":
            yield found


CODE = {
    "a.js": "// Adds.\nexport function add(a, b) {\n  return a + b;\n}\n",
    "a.ts": "/** Adds. */\nexport const add = (a: number): number => {\n  return a;\n};\n",
    "A.java": "class A {\n  /** Adds. */\n  int add(int a) {\n    return a;\n  }\n}\n",
    "a.go": "package a\n\n// Add adds.\nfunc Add(a int) int {\n\treturn a\n}\n",
    "a.rs": "/// Adds.\nfn add(a: u8) -> u8 {\n    a + 1\n}\n",
    "a.c": "/* Adds. */\nint add(int a) {\n  return a;\n}\n",
    "A.cs": "class A {\n  // Adds.\n  int Add(int a) {\n    return a;\n  }\n}\n",
    "a.rb": "# Adds.\ndef add(a)\n  a + 1\nend\n",
    "a.sh": "# Adds.\nadd() {\n  echo 1\n}\n",
    "a.cpp": "// Adds.\ntemplate <class T>\nT add(T a) {\n  return a;\n}\n",
}


@pytest.mark.parametrize("path", CODE)
def test_comments_stay_with_what_they_describe(counter: TokenCounter, path: str) -> None:
    language = language_of(path)
    filler = CODE[path].replace("dd", "ny")
    text = "\n".join([filler] * 6 + [CODE[path]] + [filler] * 6)
    spans = split(text, language, counter, 64)
    check(text, spans, counter, 64)
    assert len(spans) > 2
    holding = [span.text for span in spans if "add" in span.text.lower()]
    assert len(holding) == 1
    assert holding[0].count("dds.") == 1 or "Adds." in holding[0]


def test_markdown_is_split_at_headings_alone(counter: TokenCounter) -> None:
    text = "intro\n\n# One\n\ntext\n\n```py\n# no heading\n```\n\nTwo\n---\n\n## Three\n\nmore\n"
    spans = split(text, "markdown", counter, 100)
    check(text, spans, counter, 100)
    starts = [span.text.split("\n")[0] for span in spans]
    assert starts == ["intro", "# One", "Two"]
    titles = [heading.title for heading in find_headings(text, "markdown")]
    assert titles == ["One", "Two", "Three"]


def test_restructured_text_has_headings_too() -> None:
    text = "=====\nTitle\n=====\n\nText.\n\nPart\n----\n\n.. code::\n\nMore.\n"
    assert [heading.title for heading in find_headings(text, "rst")] == ["Title", "Part"]


def test_a_very_long_line_is_cut_at_spaces(counter: TokenCounter) -> None:
    text = "word " * 5000
    spans = split(text, None, counter, 100)
    check(text, spans, counter, 100)
    assert all(span.text.endswith("word") for span in spans)


def test_deep_nesting_is_no_problem(counter: TokenCounter) -> None:
    text = "x = " + "[" * 3000 + "]" * 3000 + "\n"
    check(text, split(text, "python", counter, 64), counter, 64)


def test_names_survive_what_happens_above(counter: TokenCounter) -> None:
    text = module("badger")
    before = split(text, "python", counter, 100)
    after = split('"""Other."""\n\nx = 1\n\n\n' + text.split("\n", 3)[3], "python", counter, 100)
    names, moved = chunk_ids("a.py", before), chunk_ids("a.py", after)
    assert len(set(names)) == len(names)
    assert len(set(names) & set(moved)) >= len(names) - 2
    assert not set(names) & set(chunk_ids("b.py", before))


@pytest.mark.parametrize("seconds", [60.0, 0.0], ids=["parsed", "stopped"])
def test_nothing_of_a_text_stays_in_memory_once_its_tree_is_gone(seconds: float) -> None:
    text = b"def f(x):\n    return x + 1\n" * 10_000
    parse("python", text, seconds)
    tracemalloc.start()
    for _ in range(3):
        parse("python", text, seconds)
    # Of what the parser was given alone: other threads of the process make what they like.
    mine = [tracemalloc.Filter(True, languages.__file__)]
    traces = tracemalloc.take_snapshot().filter_traces(mine).traces
    kept = sum(trace.size for trace in traces)
    tracemalloc.stop()
    assert kept < len(text) / 10
