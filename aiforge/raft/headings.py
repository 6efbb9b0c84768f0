"""Headings of Markdown and reStructuredText."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
_RST_UNDERLINE = re.compile(r"^([=\-~^\"'`#*+:.<>_])\1{2,}[ \t]*$")


@dataclass(frozen=True)
class Heading:
    """A heading: its title, the byte offset of its first line, and that of the text below it."""

    title: str
    start: int
    body: int


def find_headings(text: str, language: str) -> list[Heading]:
    """Headings of a document in their order; lines inside of fenced code are none.

    Args:
        language: ``markdown`` or ``rst``.
    """
    lines = text.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line.encode()) + 1)
    size = offsets[-1] - 1
    find = _markdown if language == "markdown" else _rst
    return [
        Heading(title, offsets[first], min(offsets[last + 1], size))
        for title, first, last in find(lines)
    ]


def _markdown(lines: list[str]) -> list[tuple[str, int, int]]:
    found = []
    fence = ""
    previous = ""
    for index, line in enumerate(lines):
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence):
                fence = ""
            previous = ""
        elif fence:
            continue
        elif atx := _ATX.match(line):
            if atx[2]:
                found.append((atx[2].strip(), index, index))
            previous = ""
        elif previous and _SETEXT.match(line):
            found.append((previous, index - 1, index))
            previous = ""
        else:
            plain = line.strip() and not line.startswith(("    ", "\t", ">", "-", "*", "|", "<"))
            previous = line.strip() if plain else ""
    return found


def _rst(lines: list[str]) -> list[tuple[str, int, int]]:
    found = []
    for index in range(1, len(lines)):
        title, line = lines[index - 1].rstrip(), lines[index]
        underlined = _RST_UNDERLINE.match(line) and len(line.rstrip()) >= len(title)
        if underlined and title and not title[0].isspace() and not _RST_UNDERLINE.match(title):
            over = index >= 2 and lines[index - 2].rstrip() == line.rstrip()
            found.append((title, index - 2 if over else index - 1, index))
    return found
