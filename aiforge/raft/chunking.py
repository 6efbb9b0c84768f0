"""Files into chunks along their structure, none longer than a cap in tokens.

Code is split and merged on its syntax tree as cAST does (arXiv 2506.15655): a node that fits is
never divided, siblings are merged while they fit. Two things are added. A definition takes the
comments right above it along, and the parts of a definition that had to be divided are not merged
with its neighbours. Markdown and reStructuredText are split by heading, everything else by
paragraphs, then lines, then words.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aiforge.raft.headings import Heading, find_headings
from aiforge.raft.tokens import TokenCounter

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

CHUNKER_VERSION = 2
"""Raised whenever the same file and cap would give other chunks."""

_DEFINITIONS = frozenset(
    {
        *("function_definition", "class_definition", "decorated_definition"),
        *("function_declaration", "generator_function_declaration", "method_definition"),
        *("class_declaration", "abstract_class_declaration", "interface_declaration"),
        *("enum_declaration", "record_declaration", "method_declaration", "export_statement"),
        *("constructor_declaration", "lexical_declaration", "type_declaration"),
        *("function_item", "impl_item", "trait_item", "struct_item", "enum_item", "mod_item"),
        *("local_function_statement", "struct_declaration", "method", "singleton_method"),
        "trait_declaration",
        *("struct_specifier", "class_specifier", "template_declaration", "namespace_definition"),
    }
)
_COMMENTS = frozenset({"comment", "line_comment", "block_comment"})
_MAX_DEPTH = 120
_PARAGRAPH = re.compile(rb"\n(?:[ \t\f\v]*\n)+")
_SPACE = re.compile(rb"\s")
_SIGNS_ONLY = re.compile(rb"[\s\W]*\Z")


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a file: byte offsets, and lines from 1, both inclusive.

    ``start`` and ``end`` of all spans cover the file without gaps; ``text`` is what lies between
    without blank lines at its edges, ``tokens`` its length.
    """

    start: int
    end: int
    start_line: int
    end_line: int
    text: str
    tokens: int
    pieces: NDArray[np.int32]
    """Numbers of its pieces, as the counter gave them."""


def split_file(
    text: str, language: str | None, tree: Tree | None, counter: TokenCounter, cap: int
) -> list[Span]:
    """Chunks of a file in their order.

    Args:
        tree: The file's syntax tree; ``None`` where there is none.
        cap: Most tokens that a chunk may have.
    """
    splitter = _Splitter(text, counter, cap)
    if tree is not None:
        windows = splitter.split_node(tree.root_node, 0, len(splitter.data), 0)
    elif language in ("markdown", "rst"):
        windows = splitter.split_sections(find_headings(text, language))
    else:
        windows = splitter.split_plain(0, len(splitter.data))
    return splitter.spans(windows)


def chunk_id(path: str, text: str, occurrence: int) -> str:
    """Name of a chunk that stays when lines above it come and go."""
    key = f"{path}\0{text}\0{occurrence}".encode()
    return hashlib.sha1(key, usedforsecurity=False).hexdigest()[:20]


def chunk_ids(path: str, spans: Iterable[Span]) -> list[str]:
    """A name for each chunk of a file."""
    seen: Counter[str] = Counter()
    names = []
    for span in spans:
        names.append(chunk_id(path, span.text, seen[span.text]))
        seen[span.text] += 1
    return names


@dataclass(slots=True)
class _Window:
    start: int
    end: int
    sealed: bool = False
    """Not to be merged with what follows or precedes it."""


class _Splitter:
    def __init__(self, text: str, counter: TokenCounter, cap: int) -> None:
        self.data = text.encode()
        self._counter = counter
        self._cap = cap
        breaks = np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord("\n"))
        self._starts: list[int] = [0, *(breaks + 1).tolist()]
        self._lengths = counter.measure(text)
        self._tokens = self._lengths.size
        self._before, self._up_to = self._lengths.before, self._lengths.up_to

    # Lengths.

    def trim(self, start: int, end: int) -> tuple[int, int]:
        """The range without blank lines at its edges; indentation of its first line stays."""
        data = self.data
        while end > start and data[end - 1] in b" \t\n\r\f\v":
            end -= 1
        first = start
        while first < end and data[first] in b" \t\n\r\f\v":
            first += 1
        line = data.rfind(b"\n", start, first) + 1
        return (max(start, line) if line else start), end

    def fits(self, start: int, end: int) -> bool:
        """Whether a range is no longer than the cap."""
        if start >= end or self._up_to[end] - self._before[start] <= self._cap:
            return True
        return self._tokens(*self.trim(start, end)) <= self._cap

    def _fits_exactly(self, start: int, end: int) -> bool:
        """As ``fits``, counted exactly where the fast count is a little too high."""
        if self._tokens(start, end) <= self._cap:
            return True
        start, end = self.trim(start, end)
        size = self._tokens(start, end)
        if self._cap < size <= self._cap * self._counter.doubt:
            return self._counter.exact([self._text(start, end)])[0] <= self._cap
        return size <= self._cap

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].decode(errors="replace")

    # Windows: ranges that fit, in order, without gaps.

    def split_node(self, node: Node, start: int, end: int, depth: int) -> list[_Window]:
        """Windows of a syntax node, whose range is widened to ``start`` and ``end``."""
        fits = self._fits_exactly if node.type in _DEFINITIONS else self.fits
        if fits(start, end):
            return [_Window(start, end)]
        items = self._items(node.children, start, end) if depth < _MAX_DEPTH else []
        if not items:
            return self.split_plain(start, end)
        windows: list[_Window] = []
        for child, first, last in items:
            if self._up_to[last] - self._before[first] <= self._cap:
                self._append(windows, _Window(first, last))
                continue
            parts = self.split_node(child, first, last, depth + 1)
            if len(parts) > 1 and child.type in _DEFINITIONS:
                for part in parts:
                    part.sealed = True
            for part in parts:
                self._append(windows, part)
        return windows

    def _items(self, children: Sequence[Node], start: int, end: int) -> list[tuple[Node, int, int]]:
        """Child nodes with their ranges; a definition's comments belong to its range."""
        items: list[tuple[Node, int, int]] = []
        position = start
        above: int | None = None
        for index, child in enumerate(children):
            is_last = index == len(children) - 1
            last = end if is_last else child.end_byte
            if child.type in _COMMENTS and not is_last:
                gap = self.data[child.end_byte : children[index + 1].start_byte]
                above = len(items) if above is None else above
                if gap.count(b"\n") > 1:
                    above = None
            elif above is not None:
                first = items[above][1]
                if child.type in _DEFINITIONS and self.fits(first, last):
                    del items[above:]
                    position = first
                above = None
            if last > position:
                items.append((child, position, last))
                position = last
        return items

    def _append(self, windows: list[_Window], part: _Window) -> None:
        before = windows[-1] if windows else None
        if before is not None and self.fits(before.start, part.end):
            sealed = before.sealed or part.sealed
            # A brace alone is of no use to anyone, so that not even a seal keeps it apart.
            if not sealed or _SIGNS_ONLY.match(self.data, part.start, part.end):
                before.end = part.end
                return
        windows.append(part)

    def split_sections(self, headings: Sequence[Heading]) -> list[_Window]:
        """Windows that never cross a heading, save for headings without a text."""
        bodies = {heading.start: heading.body for heading in headings}
        bounds = sorted({0, *bodies, len(self.data)})
        windows: list[_Window] = []
        bare = False
        for start, end in pairwise(bounds):
            if bare and self.fits(windows[-1].start, end):
                windows[-1].end = end
            else:
                windows += self.split_plain(start, end)
            first, last = self.trim(bodies.get(start, start), end)
            bare = first >= last
        return windows

    def split_plain(self, start: int, end: int) -> list[_Window]:
        """Windows of text without structure: paragraphs, else lines, else words."""
        if self.fits(start, end):
            return [_Window(start, end)]
        for separator in (_PARAGRAPH, re.compile(rb"\n")):
            cuts = [match.end() for match in separator.finditer(self.data, start, end)]
            bounds = [start, *(cut for cut in cuts if start < cut < end), end]
            if len(bounds) > 2:
                windows: list[_Window] = []
                for first, last in pairwise(bounds):
                    for part in self.split_plain(first, last):
                        self._append(windows, part)
                return windows
        return list(self._halve(start, end))

    def _halve(self, start: int, end: int) -> Iterator[_Window]:
        """Cut one line at the white space nearest to its middle until each part fits."""
        middle = (start + end) // 2
        if self.fits(start, end) or middle == start:
            yield _Window(start, end)
            return
        spaces = [match.end() for match in _SPACE.finditer(self.data, start + 1, end - 1)]
        cut = min(spaces, key=lambda position: abs(position - middle), default=middle)
        cut = self._align(cut)
        if cut >= end:
            yield _Window(start, end)
            return
        yield from self._halve(start, cut)
        yield from self._halve(cut, end)

    def _align(self, position: int) -> int:
        """The next position that does not stand inside a character."""
        while position < len(self.data) and self.data[position] & 0xC0 == 0x80:
            position += 1
        return position

    # The result.

    def spans(self, windows: list[_Window]) -> list[Span]:
        """Spans of windows; those near the cap are measured exactly, and cut if they exceed it."""
        spans = []
        for window in windows:
            start, end = self.trim(window.start, window.end)
            tokens = self._tokens(start, end)
            text = self._text(start, end)
            if tokens > self._cap - self._counter.guard:
                tokens = self._counter.exact([text])[0]
            if tokens > self._cap:
                spans += self._narrower(window, tokens)
            else:
                spans.append(self._span(window, start, end, text, tokens))
        return spans

    def _narrower(self, window: _Window, tokens: int) -> list[Span]:
        cap = self._cap
        self._cap = max(1, min(cap, self._tokens(*self.trim(*_range(window)))) - (tokens - cap) - 1)
        parts = self.split_plain(window.start, window.end)
        self._cap = cap
        if len(parts) == 1:
            start, end = self.trim(*_range(window))
            text = self._text(start, end)
            return [self._span(window, start, end, text, tokens)]
        return self.spans(parts)

    def _span(self, window: _Window, start: int, end: int, text: str, tokens: int) -> Span:
        first = bisect_right(self._starts, start)
        last = bisect_right(self._starts, max(start, end - 1))
        pieces = self._lengths.part(start, end)
        return Span(window.start, window.end, first, last, text, tokens, pieces)


def _range(window: _Window) -> tuple[int, int]:
    return window.start, window.end
