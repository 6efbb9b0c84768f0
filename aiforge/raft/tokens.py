"""Lengths in tokens of the base model, counted several times as fast as by encoding."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from aiforge.raft.pieces import BYTE_LEVEL_PIECE, PIECE, Numbers
from aiforge.raft.terms import terms_of

_CACHE_PIECES = 400_000
_GROUP_CHARACTERS = 1 << 15
_CALIBRATION_LINES = 12
_MOST_DOUBT = 1.25


class Lengths:
    """How many tokens any part of one text has: running totals over its pieces.

    Args:
        starts: At which byte each piece begins; the end of the text stands last.
        totals: Tokens before each piece; those of the whole text stand last.
        pieces: The numbers of the pieces.
    """

    def __init__(
        self, starts: NDArray[np.int64], totals: NDArray[np.int64], pieces: NDArray[np.int32]
    ) -> None:
        self._starts = starts
        self._pieces = pieces
        widths = np.diff(starts)
        # By byte: tokens of the pieces before the one that begins or ends there.
        before = np.repeat(totals[:-1].astype(np.int32), widths)
        up_to = np.repeat(totals[1:].astype(np.int32), widths)
        self.before: memoryview[int] = np.append(before, np.int32(totals[-1])).data
        self.up_to: memoryview[int] = np.append(np.int32(0), up_to).data

    def size(self, start: int, end: int) -> int:
        """About how many tokens a range of bytes has; pieces that it cuts count in full."""
        return self.up_to[end] - self.before[start] if start < end else 0

    def part(self, start: int, end: int) -> NDArray[np.int32]:
        """The pieces of a range of bytes; those that it cuts belong to it."""
        first = int(self._starts.searchsorted(start, "right")) - 1
        return self._pieces[first : int(self._starts.searchsorted(end))]


class TokenCounter:
    """Counts tokens of a text as the sum over its pieces, each encoded once and remembered.

    The sum is the exact number, or a few percent more, for tokenizers that split at words before
    they merge (byte-level BPE, WordPiece, SentencePiece). It can be too low by a few tokens:
    ``guard`` is how much on ordinary text, doubled. What lies that close below a bound must be
    counted exactly. ``doubt`` is the factor by which it can be too high.

    Args:
        tokenizer_json: Content of a ``tokenizer.json``.
    """

    _numbers: Numbers
    _sizes: NDArray[np.int64]
    _widths: NDArray[np.int64]
    _texts: list[str]
    _terms: NDArray[np.uint32]
    _term_counts: NDArray[np.int64]

    def __init__(self, tokenizer_json: str) -> None:
        # Texts are short and builds run in several processes: threads would only cost time here.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        described = json.loads(tokenizer_json)
        byte_level = _splits_as_byte_level(described)
        self._pattern = BYTE_LEVEL_PIECE if byte_level else PIECE
        self._is_plain_bpe = byte_level and _merges_alone(described)
        self._newline, self._letter = self.exact(["\n", "x"])
        self.forget()
        self.guard, self.doubt = self._calibrate()

    def count(self, texts: Sequence[str]) -> list[int]:
        """About how many tokens each text has; many short ones cost little more than one."""
        return self.read(texts)[0]

    def read(self, texts: Sequence[str]) -> tuple[list[int], list[NDArray[np.int32]]]:
        """As ``count``, and the pieces of each text; valid until ``forget``."""
        counts: list[int] = []
        parts: list[NDArray[np.int32]] = []
        for group in _groups(texts):
            numbers, starts = self._numbers.of("\n".join(group))
            self._learn()
            totals = np.append(0, np.cumsum(self._sizes[numbers]))
            ends = np.cumsum([len(text) + 1 for text in group]) - 1
            lasts = np.searchsorted(starts, ends)
            firsts = np.searchsorted(starts, np.append(0, ends[:-1] + 1))
            counts += (totals[lasts] - totals[firsts]).tolist()
            bounds = zip(firsts.tolist(), lasts.tolist(), strict=True)
            parts += [numbers[first:last] for first, last in bounds]
        return counts, parts

    def measure(self, text: str) -> Lengths:
        """The lengths of all parts of a text; valid until ``forget``."""
        numbers, _ = self._numbers.of(text)
        self._learn()
        starts = np.append(0, np.cumsum(self._widths[numbers]))
        return Lengths(starts, np.append(0, np.cumsum(self._sizes[numbers])), numbers)

    def terms(
        self, parts: Sequence[NDArray[np.int32]]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """What ``terms.flat_terms`` gives for texts, of their pieces."""
        fresh = [terms_of(piece) for piece in self._texts[len(self._term_counts) :]]
        counts = np.append(self._term_counts, np.array(list(map(len, fresh)), np.int64))
        every = np.append(self._terms, np.array(list(chain.from_iterable(fresh)), np.uint32))
        self._term_counts, self._terms = counts, every
        starts = np.append(0, np.cumsum(counts))
        pieces = np.concatenate([np.zeros(0, np.int32), *parts])
        sizes = counts[pieces]
        ends = np.append(0, np.cumsum(sizes))
        within = np.arange(ends[-1]) - np.repeat(ends[:-1], sizes)
        flat = every[np.repeat(starts[pieces], sizes) + within]
        bounds = np.fromiter(accumulate(map(len, parts), initial=0), np.int64, len(parts) + 1)
        return flat, ends[bounds]

    def exact(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, special tokens not among them."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encoded]

    def forget(self) -> None:
        """Let go of all pieces."""
        self._numbers = Numbers(self._pattern)
        self._sizes = np.zeros(0, np.int64)
        self._widths = np.zeros(0, np.int64)
        self._texts = []
        self._terms = np.zeros(0, np.uint32)
        self._term_counts = np.zeros(0, np.int64)

    @property
    def is_large(self) -> bool:
        """Whether so many pieces are remembered that it is time to forget them."""
        return len(self._numbers) > _CACHE_PIECES

    def _learn(self) -> None:
        fresh, self._numbers.fresh = self._numbers.fresh, []
        if not fresh:
            return
        added = self._sizes_by_model(fresh) if self._is_plain_bpe else self._sizes_in_text(fresh)
        widths = [len(piece.encode(errors="replace")) for piece in fresh]
        end = len(self._numbers)
        if end > len(self._sizes):
            grown = np.zeros((2, max(2 * end, 1 << 14)), np.int64)
            grown[0, : len(self._sizes)], grown[1, : len(self._widths)] = self._sizes, self._widths
            self._sizes, self._widths = grown
        self._sizes[end - len(fresh) : end] = added
        self._widths[end - len(fresh) : end] = widths
        self._texts += fresh

    def _sizes_by_model(self, pieces: Sequence[str]) -> list[int]:
        """What ``_sizes_in_text`` gives, in a quarter of its time."""
        tokenize, signs = self._tokenizer.model.tokenize, _byte_signs()
        data = (piece.encode(errors="replace").decode("latin-1") for piece in pieces)
        return [len(tokenize(each.translate(signs))) for each in data]

    def _sizes_in_text(self, pieces: Sequence[str]) -> list[int]:
        # Some tokenizers put a space before whatever they are given, so that no piece may stand
        # at the beginning.
        sizes = self.exact([("x" if piece.isspace() else "\n") + piece for piece in pieces])
        bases = (self._letter if piece.isspace() else self._newline for piece in pieces)
        return [max(1, size - base) for size, base in zip(sizes, bases, strict=True)]

    def _calibrate(self) -> tuple[int, float]:
        """Guard and doubt, by the counts of a few lines of code and prose."""
        import shlex
        import textwrap
        from pathlib import Path

        too_low, too_high = 0, 1.0
        for module in (shlex, textwrap):
            lines = Path(str(module.__file__)).read_text(encoding="utf-8").split("\n")
            samples = [
                "\n".join(lines[start : start + _CALIBRATION_LINES])
                for start in range(0, len(lines), _CALIBRATION_LINES)
            ]
            for exact, counted in zip(self.exact(samples), self.count(samples), strict=True):
                too_low = max(too_low, exact - counted)
                too_high = max(too_high, counted / max(exact, 1))
        return 4 + 2 * too_low, min(_MOST_DOUBT, 2 * too_high - 1)


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts that can be counted as the lines of one."""
    group: list[str] = []
    size = 0
    for text in texts:
        # White space would join the line break between two texts, and long groups take memory.
        alone = text[:1].isspace() or text[-1:].isspace() or not text
        if group and (alone or size > _GROUP_CHARACTERS):
            yield group
            group, size = [], 0
        if alone:
            yield [text]
        else:
            group.append(text)
            size += len(text)
    if group:
        yield group


def _splits_as_byte_level(described: dict[str, Any]) -> bool:
    """Whether a tokenizer splits a text as GPT-2's does, and changes nothing of it before."""
    splitter = described.get("pre_tokenizer") or {}
    plain = splitter.get("type") == "ByteLevel" and splitter.get("use_regex", True)
    return bool(plain and not described.get("normalizer"))


def _merges_alone(described: dict[str, Any]) -> bool:
    """Whether nothing but a BPE model that knows all bytes decides on the tokens of a piece."""
    model = described.get("model") or {}
    added = described.get("added_tokens") or []
    signs = _byte_signs().values()
    return (
        model.get("type") == "BPE"
        and not model.get("dropout")
        and all(token.get("special") for token in added)
        and all(sign in model.get("vocab", {}) for sign in signs)
    )


@cache
def _byte_signs() -> dict[int, str]:
    """The sign that stands for each byte in byte-level vocabularies (GPT-2)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    shown += range(ord("®"), ord("ÿ") + 1)
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {
        byte: chr(256 + place) for place, byte in enumerate(hidden)
    }


_counters: OrderedDict[str, TokenCounter] = OrderedDict()


def token_counter(tokenizer_json: str) -> TokenCounter:
    """The counter of a tokenizer; kept for the process, so that what it learned is shared.

    Where it learned too much it has forgotten all: call this once for each piece of work.
    """
    key = hashlib.sha256(tokenizer_json.encode()).hexdigest()
    if key not in _counters:
        _counters[key] = TokenCounter(tokenizer_json)
        while len(_counters) > 2:
            _counters.popitem(last=False)
    if _counters[key].is_large:
        _counters[key].forget()
    return _counters[key]
