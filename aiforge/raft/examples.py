"""One example of a draft: documents, question and answer that fit into the model's context."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiforge.languages import parse
from aiforge.raft.answers import Answer, parse_answer
from aiforge.raft.dedup import Sketches
from aiforge.raft.distractors import Corpus
from aiforge.raft.names import hashed
from aiforge.raft.questions import Rendered, Unanswerable, render
from aiforge.raft.records import Chunk, Draft
from aiforge.raft.terms import terms_of
from aiforge.raft.tokens import TokenCounter
from aiforge.raft.wording import normalise
from aiforge.schemas.datasets import RaftConfig

PROMPT_OVERHEAD = 64
"""Tokens set aside for the chat template around an example."""

TOO_LONG = "longer than the context"
"""Why an example is dropped that does not fit even without distractors."""

_DOCUMENT_OVERHEAD = 4
_TRIVIAL_SHARE = 0.9
_SYNTAX_CHECKED = frozenset({"usage"})


@dataclass
class Pair:
    """A question with its answer and distractors, before they are put into a context.

    ``tokens`` is the length of question and answer, ``distractors`` are numbers in the corpus,
    ``trivial`` says that the question tells the answer, ``valid`` that the answer has the RAFT
    form. ``minima`` and ``bands`` are the sketch of both (``dedup.Sketches``). ``dropped`` is why
    there is none.
    """

    question: str = ""
    output: str = ""
    quotes: int = 0
    grounded: int = 0
    needs_golden: bool = True
    tokens: int = 0
    distractors: list[int] = field(default_factory=list)
    hardness: float = 0.0
    trivial: bool = False
    valid: bool = False
    minima: bytes | None = None
    bands: bytes | None = None
    dropped: str | None = None


@dataclass(frozen=True)
class Maker:
    """Makes examples of drafts."""

    corpus: Corpus
    counter: TokenCounter
    config: RaftConfig

    def pairs(self, drafts: Sequence[Draft]) -> list[Pair]:
        """Questions and answers of drafts, and which chunks may stand beside each oracle."""
        pairs = [self._pair(draft) for draft in drafts]
        # Question and answer in turn.
        texts = [text for pair in pairs for text in (pair.question, pair.output)]
        counts, parts = self.counter.read(texts)
        flat, offsets = self.counter.terms(parts)
        sketches = Sketches.of(flat, offsets[::2])
        bounds = offsets.tolist()
        for index, pair in enumerate(pairs):
            pair.tokens = counts[2 * index] + counts[2 * index + 1]
            answer = parse_answer(pair.output)
            asked = flat[bounds[2 * index] : bounds[2 * index + 1]]
            pair.trivial = is_trivial(asked.tolist(), answer)
            pair.valid = bool(pair.question and answer and answer.quotes and answer.answer)
            pair.minima = sketches.minima[index].tobytes()
            pair.bands = sketches.bands[index].tobytes()
        return pairs

    def rows(self, drafts: Sequence[Draft], pairs: Sequence[Pair]) -> list[dict[str, Any]]:
        """Rows of ``RESULTS``; ``dropped`` holds the reason where no example can be made."""
        shown = {
            index: self.corpus.chunks[index]
            for draft, pair in zip(drafts, pairs, strict=True)
            for index in (draft.chunk, *pair.distractors)
        }
        frames = self.counter.count(["".join(document_frame(chunk)) for chunk in shown.values()])
        sizes = {
            index: chunk.tokens + frame + _DOCUMENT_OVERHEAD
            for (index, chunk), frame in zip(shown.items(), frames, strict=True)
        }
        return [self._row(*each, sizes) for each in zip(drafts, pairs, strict=True)]

    def _pair(self, draft: Draft) -> Pair:
        chunk = self.corpus.chunks[draft.chunk]
        try:
            rendered = render(draft, chunk, self.config.seed)
            _check(chunk, draft, rendered)
        except Unanswerable as reason:
            return Pair(dropped=str(reason))
        rng = random.Random(hashed(str(self.config.seed), draft.id, "distractors"))
        picked = self.corpus.pick(draft.chunk, rendered, self.config.distractors, rng)
        whole = self.corpus.normal_text(draft.chunk)
        return Pair(
            rendered.question,
            rendered.output,
            len(rendered.quotes),
            sum(normalise(passage) in whole for passage in rendered.quotes),
            rendered.needs_golden,
            distractors=picked.chunks,
            hardness=picked.hardness,
        )

    def _row(self, draft: Draft, pair: Pair, sizes: Mapping[int, int]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": f"ex-{draft.id}",
            "kind": draft.kind,
            "validation": draft.validation,
            "oracle": draft.chunk,
            "dropped": pair.dropped,
        }
        if pair.dropped:
            return row
        seed, config = str(self.config.seed), self.config
        chance = hashed(seed, draft.id, "golden") / 2**64
        golden = pair.needs_golden and chance < config.golden_probability
        documents = [draft.chunk] if golden else []
        room = config.context_tokens - PROMPT_OVERHEAD - self.counter.guard - pair.tokens
        room -= sum(map(sizes.__getitem__, documents))
        fitting = pair.distractors
        while fitting and sum(map(sizes.__getitem__, fitting)) > room:
            fitting = fitting[:-1]
        if room < 0:
            return row | {"dropped": TOO_LONG}
        chunks = [self.corpus.chunks[index] for index in (*documents, *fitting)]
        chunks.sort(key=lambda chunk: hashed(seed, draft.id, chunk.source_id, chunk.id))
        chunk = self.corpus.chunks[draft.chunk]
        return row | {
            "source_id": chunk.source_id,
            "path": chunk.path,
            "start_line": chunk.start_line,
            "end_line": chunk.end_line,
            "commit": chunk.commit,
            "license": chunk.license,
            "golden": golden,
            "instruction": pair.question,
            "input": "\n\n".join(map(document, chunks)),
            "output": pair.output,
            "wanted": config.distractors,
            "distractors": len(fitting),
            "no_room": len(pair.distractors) - len(fitting),
            "quotes": pair.quotes,
            "grounded": pair.grounded,
            "hardness": pair.hardness if fitting else None,
            **{name: getattr(pair, name) for name in ("trivial", "valid", "minima", "bands")},
        }


def document(chunk: Chunk) -> str:
    """A chunk as one document of an example's context."""
    head, tail = document_frame(chunk)
    return f"{head}{chunk.text}{tail}"


def document_frame(chunk: Chunk) -> tuple[str, str]:
    """What stands before and after a chunk's text in a context."""
    return f"<DOCUMENT {chunk.path}:{chunk.start_line}-{chunk.end_line}>\n", "\n</DOCUMENT>"


def is_trivial(asked: Sequence[int], answer: Answer | None) -> bool:
    """Whether an answer is already said by its question, given the question's terms."""
    said = terms_of(answer.answer) if answer else []
    known = set(asked)
    return not said or sum(word in known for word in said) >= _TRIVIAL_SHARE * len(said)


def _check(chunk: Chunk, draft: Draft, rendered: Rendered) -> None:
    """Refuse answers whose code does not parse."""
    if draft.kind not in _SYNTAX_CHECKED:
        return
    code = rendered.output.partition("```")[2].partition("\n")[2].rpartition("\n```")[0]
    tree = parse(chunk.language or "", code.encode())
    if tree is None or tree.root_node.has_error:
        raise Unanswerable("its code does not parse by itself")
