"""What answers: an Ollama server, or llama.cpp on this platform's own machines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from aiforge.schemas.exports import Export
from aiforge.services import copies, exported
from aiforge.serving.chat import ChatOptions, ChatPiece, Message
from aiforge.serving.llama import LlamaModels
from aiforge.serving.ollama import Ollama
from aiforge.serving.threads import Turns
from aiforge.settings import Settings
from aiforge.state.answering import Served
from aiforge.storage import Storage

THROUGH_OLLAMA = 16
"""Answers at a time from one process; the server queues by itself."""

WAITING = 16


class AnswersHere(Protocol):
    """Generates by llama.cpp, wherever that runs; why it exists: on a cluster it is an actor."""

    def __call__(
        self, export: Export, messages: Sequence[Message], options: ChatOptions
    ) -> AsyncIterator[ChatPiece]:
        """The answer of an exported model as it is made."""


class LlamaHere:
    """Answers by llama.cpp in this process, one at a time, from files of the storage.

    Args:
        threads: The processor's when absent.
    """

    def __init__(self, storage: Storage, settings: Settings, threads: int | None = None) -> None:
        self._storage = storage
        self._settings = settings
        self._models = LlamaModels(threads=threads)
        self._intact: set[tuple[Path, int]] = set()
        self._turns = Turns(1, WAITING)
        if not storage.is_local:
            copies.make_room(settings)

    def __call__(
        self, export: Export, messages: Sequence[Message], options: ChatOptions
    ) -> AsyncIterator[ChatPiece]:
        """The answer of an exported model as it is made.

        Raises:
            Unavailable: Too many wait (``chat_busy``), or memory does not suffice.
            NotFound: The exported file is gone.
            Failure: It is not what was exported any more.
            InvalidInput: The conversation does not fit the model.
        """
        return self._turns.iterate(lambda: self._chat(export, messages, options))

    def _chat(
        self, export: Export, messages: Sequence[Message], options: ChatOptions
    ) -> Iterator[ChatPiece]:
        file = exported.local_file(self._storage, self._settings, export)
        state = (file.path, file.path.stat().st_mtime_ns)
        if state not in self._intact:
            file.require_intact()
            self._intact.add(state)
        yield from self._models.chat(file.path, messages, options)

    def close(self) -> None:
        """Free memory and threads."""
        self._turns.close()
        self._models.close()


class OllamaChat:
    """Answers of an Ollama server, by threads of this process."""

    def __init__(self, url: str) -> None:
        self._server = Ollama(url, attempts=1)
        self._turns = Turns(THROUGH_OLLAMA, WAITING)
        self._stops: dict[str, list[str]] = {}

    def __call__(
        self, served: Served, messages: Sequence[Message], options: ChatOptions
    ) -> AsyncIterator[ChatPiece]:
        """The answer of a deployed model, asked for by its immutable name.

        Raises:
            Unavailable: Too many wait (``chat_busy``), or the server is away.
            NotFound: It was deleted there; deploying it again brings it back.
        """
        return self._turns.iterate(lambda: self._chat(served, messages, options))

    def _chat(
        self, served: Served, messages: Sequence[Message], options: ChatOptions
    ) -> Iterator[ChatPiece]:
        # Stop texts of a request replace those of the model.
        stop = [*self._own_stops(served), *options.stop] if options.stop else []
        yield from self._server.chat(served.tag, messages, replace(options, stop=tuple(stop)))

    def _own_stops(self, served: Served) -> list[str]:
        digest = served.digest or ""
        if digest not in self._stops:
            self._stops[digest] = self._server.show(served.tag).stop
        return self._stops[digest]

    def close(self) -> None:
        """Free threads and connections."""
        self._turns.close()
        self._server.close()


class Engines:
    """The engines of one process, each begun when it is first needed.

    Args:
        answers_here: Generates by llama.cpp; this process does where it is absent.
    """

    def __init__(
        self, storage: Storage, settings: Settings, answers_here: AnswersHere | None = None
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._answers_here = answers_here

    @cached_property
    def here(self) -> AnswersHere:
        """Llama.cpp."""
        # A process that does other things too leaves them a core.
        return self._answers_here or LlamaHere(self._storage, self._settings, threads=1)

    @cached_property
    def ollama(self) -> OllamaChat:
        """The Ollama server."""
        return OllamaChat(self._settings.ollama_url)
