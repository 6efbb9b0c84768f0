"""What every engine that answers has in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Message = dict[str, str]
"""``role`` and ``content``."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class ChatOptions:
    """How an answer is sampled; greedily where ``temperature`` is 0.

    ``max_tokens`` is ``None`` where only the context ends an answer; ``stop`` holds texts that
    end it and are no part of it.
    """

    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    seed: int = 0
    max_tokens: int | None = None
    stop: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class ChatPiece:
    """A stretch of an answer. The last one has ``finish``, and counts of tokens where known."""

    text: str
    finish: Finish | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Answers(Protocol):
    """A model that answers; why it exists: probes and chats ask Ollama and llama.cpp alike."""

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[ChatPiece]:
        """The answer as it is made; the last piece has ``finish``."""
