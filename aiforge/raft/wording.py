"""Words, sentences and paragraphs of code and prose."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

_WORD = re.compile(r"[^\W_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# Tables, images, badges, HTML, rules, directives and code by indentation.
_NO_PROSE = re.compile(r" {0,3}(?:\||!\[|\[!\[|<|[-=*_~+]{3,}\s*$|\.\. |:\w+:)| {4,}\S|\t")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?=\s|$)")


def normalise(text: str) -> str:
    """The text with every run of white space made one space."""
    return " ".join(text.split())


def words(text: str) -> list[str]:
    """Lower-case words, identifiers in snake_case or CamelCase taken apart."""
    return list(chain.from_iterable(map(_parts, _WORD.findall(text))))


@lru_cache(maxsize=1 << 17)
def _parts(word: str) -> tuple[str, ...]:
    if word.islower():
        return (word,)
    return tuple(part.lower() for part in _PARTS.findall(word))


def first_paragraph(text: str) -> str:
    """What stands before the first blank line."""
    paragraph: list[str] = []
    for line in text.strip().split("\n"):
        if not line.strip():
            break
        paragraph.append(line)
    return "\n".join(paragraph)


def first_prose(text: str) -> str:
    """The first paragraph of a document's section that is prose, and neither code nor a table."""
    fence = ""
    paragraph: list[str] = []
    for line in [*text.split("\n"), ""]:
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif fence or _NO_PROSE.match(line):
            continue
        elif line.strip():
            paragraph.append(line)
            continue
        if paragraph:
            break
    return "\n".join(paragraph)


def first_sentence(text: str) -> str:
    """The first sentence of a text; all of it where no sentence ends."""
    for end in _SENTENCE_END.finditer(text):
        sentence = text[: end.start()].strip()
        if len(sentence.split()) > 2:
            return sentence
    return text.strip()


def sentences(text: str, most_words: int) -> str:
    """Whole sentences from the beginning of a text, on one line, up to a number of words.

    At least one sentence is returned, however long it is.
    """
    kept: list[str] = []
    count = 0
    for sentence in _SENTENCE_END.split(normalise(text)):
        count += len(sentence.split())
        if kept and count > most_words:
            break
        kept.append(sentence.strip())
    return " ".join(part for part in kept if part)
