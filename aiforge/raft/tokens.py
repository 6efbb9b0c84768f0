"""Lengths in tokens of the base model, counted several times as fast as by encoding."""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tokenizers import Tokenizer

# What tokenizers split a text into before they merge anything: white space but its last space,
# words with the space before them, runs of signs.
_PIECE = re.compile(r"\s+(?!\S)| ?\w+| ?[^\w\s]+|\s")

_CACHE_PIECES = 400_000
_CALIBRATION_LINES = 12


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many tokens any part of one text has: running totals over its pieces.

    ``offsets`` are bytes, ``totals`` tokens, both at the beginning of each piece and at the end.
    """

    offsets: list[int]
    totals: list[int]

    def size(self, start: int, end: int) -> int:
        """About how many tokens a range of bytes has; pieces that it cuts count in full."""
        if start >= end:
            return 0
        first = bisect_right(self.offsets, start) - 1
        last = bisect_left(self.offsets, end, first)
        return self.totals[last] - self.totals[first]


class TokenCounter:
    """Counts tokens of a text as the sum over its pieces, each encoded once and remembered.

    The sum is the exact number, or a few percent more, for tokenizers that split at words before
    they merge (byte-level BPE, WordPiece, SentencePiece). It can be too low by a few tokens:
    ``guard`` is how much on ordinary text, doubled. What lies that close below a bound must be
    counted exactly.

    Args:
        tokenizer_json: Content of a ``tokenizer.json``.
    """

    def __init__(self, tokenizer_json: str) -> None:
        # Texts are short and builds run in several processes: threads would only cost time here.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._newline, self._letter = self.exact(["\n", "x"])
        self._pieces: dict[str, int] = {}
        self.guard = 4 + 2 * self._worst_error()

    def count(self, text: str) -> int:
        """About how many tokens a text has."""
        pieces: list[str] = _PIECE.findall(text)
        try:
            return sum(map(self._pieces.__getitem__, pieces))
        except KeyError:
            self._learn(pieces)
            return sum(map(self._pieces.__getitem__, pieces))

    def measure(self, text: str) -> Lengths:
        """The lengths of all parts of a text."""
        pieces: list[str] = _PIECE.findall(text)
        self._learn(pieces)
        widths = map(len, pieces) if text.isascii() else (len(piece.encode()) for piece in pieces)
        return Lengths(
            list(accumulate(widths, initial=0)),
            list(accumulate(map(self._pieces.__getitem__, pieces), initial=0)),
        )

    def exact(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, special tokens not among them."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encoded]

    def _learn(self, pieces: Iterable[str]) -> None:
        wanted = set(pieces)
        if len(self._pieces) > _CACHE_PIECES:
            self._pieces.clear()
        unknown = wanted.difference(self._pieces)
        if not unknown:
            return
        # Some tokenizers put a space before whatever they are given, so that no piece may stand
        # at the beginning.
        blank = [piece for piece in unknown if piece.isspace()]
        words = [piece for piece in unknown if not piece.isspace()]
        for group, before, base in ((blank, "x", self._letter), (words, "\n", self._newline)):
            sizes = self.exact([before + piece for piece in group]) if group else []
            self._pieces.update(
                (piece, max(1, size - base)) for piece, size in zip(group, sizes, strict=True)
            )

    def _worst_error(self) -> int:
        """By how much the count of a few lines of code and prose is too low, at the worst."""
        import shlex
        import textwrap
        from pathlib import Path

        worst = 0
        for module in (shlex, textwrap):
            lines = Path(str(module.__file__)).read_text(encoding="utf-8").split("\n")
            samples = [
                "\n".join(lines[start : start + _CALIBRATION_LINES])
                for start in range(0, len(lines), _CALIBRATION_LINES)
            ]
            exact = self.exact(samples)
            counted = [self.count(sample) for sample in samples]
            worst = max(worst, *(e - c for e, c in zip(exact, counted, strict=True)))
        return worst


_counters: OrderedDict[str, TokenCounter] = OrderedDict()


def token_counter(tokenizer_json: str) -> TokenCounter:
    """The counter of a tokenizer; kept for the process, so that what it learned is shared."""
    key = hashlib.sha256(tokenizer_json.encode()).hexdigest()
    if key not in _counters:
        _counters[key] = TokenCounter(tokenizer_json)
        while len(_counters) > 2:
            _counters.popitem(last=False)
    return _counters[key]
