"""Keeps code that a model will be examined on out of what it is trained on.

What is reserved travels in the configuration as fingerprints, so that the filter is a pure
function wherever it runs: hashes of all runs of five tokens, names and punctuation alike, without
white space and comments of their own line. A part of a reserved function is recognised as well as
a copy of it with some names changed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from hashlib import blake2b

from aiforge.raft.records import Chunk
from aiforge.schemas.datasets import RaftConfig

VERSION = 1
"""Raised whenever the same chunk would be judged otherwise."""

SHINGLE = 5
OVERLAP = 0.5
"""Share of the shorter one's shingles that must be common for two pieces to be near-duplicates."""

_MIN_SHINGLES = 8

_TOKEN = re.compile(r"\w+|[^\w\s]")
_COMMENT = re.compile(r"^\s*(#|//).*$", re.MULTILINE)


def fingerprint(code: str) -> list[int]:
    """The distinct shingles of a piece of code, as 48-bit numbers, sorted."""
    tokens = _TOKEN.findall(_COMMENT.sub("", code))
    runs = zip(*(tokens[start:] for start in range(SHINGLE)), strict=False)
    return sorted({_hash("\x00".join(run)) for run in runs})


def _hash(text: str) -> int:
    # 48 bits, so that every JSON reader keeps them exact.
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=6).digest(), "big")


def judge(chunks: Sequence[Chunk], config: RaftConfig) -> list[str | None]:
    """Refuses chunks that hold reserved code, or are a part of it."""
    if not config.reserved:
        return [None] * len(chunks)
    holders: dict[int, list[int]] = defaultdict(list)
    for number, shingles in enumerate(config.reserved):
        for shingle in shingles:
            holders[shingle].append(number)
    return [
        "reserved for an exam" if _is_reserved(chunk.text, holders, config) else None
        for chunk in chunks
    ]


def _is_reserved(text: str, holders: dict[int, list[int]], config: RaftConfig) -> bool:
    own = fingerprint(text)
    common = Counter(number for shingle in own for number in holders.get(shingle, ()))
    for number, count in common.items():
        shorter = min(len(own), len(config.reserved[number]))
        if count >= max(OVERLAP * shorter, min(_MIN_SHINGLES, shorter)):
            return True
    return False
