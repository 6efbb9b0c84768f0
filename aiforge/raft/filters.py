"""Where hygiene plugs into a build: what cleans files, what refuses chunks, what refuses examples.

Each entry is a pure function with a name and a version. A build applies it where the data is, in
whichever process that may be, counts its reasons for the yield report, and keeps what it found
with the chunks: raise ``version`` whenever the same input would be judged otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiforge.raft import contamination, holdout, secrets
from aiforge.raft.licenses import denied_license
from aiforge.raft.records import Chunk
from aiforge.schemas.datasets import RaftConfig

T = TypeVar("T")

Example = Mapping[str, Any]
"""A row of ``RESULTS`` that is about to be kept."""


@dataclass(frozen=True)
class Filter(Generic[T]):
    """Refuses items.

    ``judge`` takes a batch and the build's configuration, and gives for each item why it is
    refused, in words for the yield report, or ``None``.
    """

    name: str
    version: int
    judge: Callable[[Sequence[T], RaftConfig], Sequence[str | None]]


@dataclass(frozen=True)
class Cleaner:
    """Takes something out of the text of a file before it is parsed.

    ``clean`` gives the text with as many lines as before, and how often it took out what.
    """

    name: str
    version: int
    clean: Callable[[str, RaftConfig], tuple[str, Mapping[str, int]]]


def one_by_one(
    judge: Callable[[T, RaftConfig], str | None],
) -> Callable[[Sequence[T], RaftConfig], list[str | None]]:
    """The batch variant of a judgement of one item."""

    def judge_all(items: Sequence[T], config: RaftConfig) -> list[str | None]:
        return [judge(item, config) for item in items]

    return judge_all


def _addresses(text: str, _: RaftConfig) -> tuple[str, Mapping[str, int]]:
    cleaned, count = secrets.without_addresses(text)
    return cleaned, {"e-mail address": count} if count else {}


def _secret(chunks: Sequence[Chunk], _: RaftConfig) -> list[str | None]:
    found = secrets.secrets_in([chunk.text for chunk in chunks])
    return ["holds a secret" if each else None for each in found]


def _licensed(chunk: Chunk, config: RaftConfig) -> str | None:
    found = denied_license(chunk.license, config.denied_licenses)
    return f"licence {found} is denied" if found else None


def _benchmarked(chunks: Sequence[Chunk], config: RaftConfig) -> list[str | None]:
    if not config.decontaminate:
        return [None] * len(chunks)
    found = contamination.contaminated([chunk.text for chunk in chunks])
    return ["holds a problem of a benchmark" if each else None for each in found]


def _unread(examples: Sequence[Example], config: RaftConfig) -> list[str | None]:
    """Judge what stands in a question or an answer but in no chunk: diffs, a teacher's words."""
    texts = [f"{row['instruction']}\n{row['output']}" for row in examples]
    foreign = [row["kind"] in _FOREIGN for row in examples]
    benchmarked = [False] * len(texts)
    if config.decontaminate and any(foreign):
        benchmarked = contamination.contaminated(texts)
    return [
        _fault(text, shared) if own else None
        for text, shared, own in zip(texts, benchmarked, foreign, strict=True)
    ]


def _fault(text: str, benchmarked: bool) -> str | None:
    if secrets.secret_in(text):
        return "holds a secret"
    if secrets.without_addresses(text)[1]:
        return "holds an e-mail address"
    return "holds a problem of a benchmark" if benchmarked else None


_FOREIGN = frozenset({"commit", "teacher"})

CLEANERS: list[Cleaner] = [Cleaner("e-mail addresses", secrets.VERSION, _addresses)]
CHUNK_FILTERS: list[Filter[Chunk]] = [
    Filter("licences", 1, one_by_one(_licensed)),
    Filter("secrets", secrets.VERSION, _secret),
    Filter("benchmarks", 1, _benchmarked),
    Filter("exam", holdout.VERSION, holdout.judge),
]
EXAMPLE_FILTERS: list[Filter[Example]] = [Filter("words from elsewhere", 1, _unread)]


def versions() -> list[tuple[str, int | str]]:
    """Name and version of all that decides what a chunk looks like, for the keys of caches."""
    cleaners = [(item.name, item.version) for item in CLEANERS]
    judges = [(item.name, item.version) for item in CHUNK_FILTERS]
    return [*cleaners, *judges, ("problems", contamination.version())]


def clean(text: str, config: RaftConfig) -> tuple[str, Counter[str]]:
    """A text after all cleaners, and how often each took out what."""
    found: Counter[str] = Counter()
    for cleaner in CLEANERS:
        text, taken = cleaner.clean(text, config)
        found.update(taken)
    return text, found


def refusals(
    filters: Sequence[Filter[T]], items: Sequence[T], config: RaftConfig
) -> list[str | None]:
    """For each item the reason of the first filter that refuses it; later ones do not see it."""
    reasons: list[str | None] = [None] * len(items)
    for each in filters:
        open_items = [index for index, reason in enumerate(reasons) if reason is None]
        judged = each.judge([items[index] for index in open_items], config)
        for index, reason in zip(open_items, judged, strict=True):
            reasons[index] = reason
    return reasons
