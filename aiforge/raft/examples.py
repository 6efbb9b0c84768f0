"""One example of a draft: documents, question and answer that fit into the model's context."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiforge.languages import parse
from aiforge.raft.answers import parse_answer
from aiforge.raft.distractors import Corpus
from aiforge.raft.questions import Rendered, Unanswerable, render
from aiforge.raft.records import Chunk, Draft
from aiforge.raft.tokens import TokenCounter
from aiforge.raft.wording import normalise
from aiforge.schemas.datasets import RaftConfig

PROMPT_OVERHEAD = 64
"""Tokens set aside for the chat template around an example."""

_DOCUMENT_OVERHEAD = 4
_SYNTAX_CHECKED = frozenset({"usage"})


@dataclass(frozen=True)
class Maker:
    """Makes examples of drafts."""

    corpus: Corpus
    counter: TokenCounter
    config: RaftConfig

    def make(self, draft: Draft) -> dict[str, Any]:
        """A row of ``RESULTS``; ``dropped`` holds the reason where no example can be made."""
        chunk = self.corpus.chunks[draft.chunk]
        row: dict[str, Any] = {
            "id": f"ex-{draft.id}",
            "kind": draft.kind,
            "validation": draft.validation,
            "oracle": draft.chunk,
        }
        try:
            rendered = render(draft, chunk, self.config.seed)
            row |= self._example(draft, chunk, rendered)
        except Unanswerable as reason:
            row["dropped"] = str(reason)
        return row

    def _example(self, draft: Draft, chunk: Chunk, rendered: Rendered) -> dict[str, Any]:
        config = self.config
        rng = random.Random(f"{config.seed}\0{draft.id}\0context")
        golden = rendered.needs_golden and rng.random() < config.golden_probability
        _check(chunk, draft, rendered)
        picked = self.corpus.pick(draft.chunk, rendered, config.distractors, rng)
        documents = [draft.chunk] if golden else []
        room = self._room(rendered, documents)
        fitting = picked.chunks
        while fitting and sum(map(self._document_tokens, fitting)) > room:
            fitting = fitting[:-1]
        if room < 0:
            raise Unanswerable("longer than the context")
        documents += fitting
        rng.shuffle(documents)
        context = "\n\n".join(document(self.corpus.chunks[index]) for index in documents)
        whole = normalise(chunk.text)
        return {
            "source_id": chunk.source_id,
            "path": chunk.path,
            "start_line": chunk.start_line,
            "end_line": chunk.end_line,
            "commit": chunk.commit,
            "license": chunk.license,
            "golden": golden,
            "instruction": rendered.question,
            "input": context,
            "output": rendered.output,
            "wanted": config.distractors,
            "distractors": len(fitting),
            "no_room": len(picked.chunks) - len(fitting),
            "quotes": len(rendered.quotes),
            "grounded": sum(normalise(passage) in whole for passage in rendered.quotes),
            "hardness": picked.hardness if fitting else None,
        }

    def _room(self, rendered: Rendered, documents: Sequence[int]) -> int:
        """Tokens that are left for distractors."""
        fixed = self.counter.count(rendered.question) + self.counter.count(rendered.output)
        used = fixed + sum(map(self._document_tokens, documents))
        return self.config.context_tokens - PROMPT_OVERHEAD - self.counter.guard - used

    def _document_tokens(self, index: int) -> int:
        chunk = self.corpus.chunks[index]
        frame = document_frame(chunk)
        return chunk.tokens + self.counter.count("".join(frame)) + _DOCUMENT_OVERHEAD


def document(chunk: Chunk) -> str:
    """A chunk as one document of an example's context."""
    head, tail = document_frame(chunk)
    return f"{head}{chunk.text}{tail}"


def document_frame(chunk: Chunk) -> tuple[str, str]:
    """What stands before and after a chunk's text in a context."""
    return f"<DOCUMENT {chunk.path}:{chunk.start_line}-{chunk.end_line}>\n", "\n</DOCUMENT>"


def is_valid(row: Mapping[str, Any]) -> bool:
    """Whether a row is complete and its answer has the RAFT form with at least one quote."""
    answer = parse_answer(row["output"])
    complete = all(row[name] for name in ("id", "kind", "path", "instruction", "output"))
    return bool(complete and answer and answer.quotes and answer.answer)


def _check(chunk: Chunk, draft: Draft, rendered: Rendered) -> None:
    """Refuse answers whose code does not parse."""
    if draft.kind not in _SYNTAX_CHECKED:
        return
    code = rendered.output.partition("```")[2].partition("\n")[2].rpartition("\n```")[0]
    tree = parse(chunk.language or "", code.encode())
    if tree is None or tree.root_node.has_error:
        raise Unanswerable("its code does not parse by itself")
