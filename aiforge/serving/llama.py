"""Chat by llama.cpp inside the platform, from the exported file itself."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from aiforge.errors import Failure, Unavailable
from aiforge.modeling.gguf_vocabulary import GgufVocabulary
from aiforge.modeling.llama_cpp import GgufModel, Sampling
from aiforge.serving.chat import ChatOptions, ChatPiece, Message
from aiforge.serving.template import render

LONGEST_CONTEXT = 8192
"""Keys and values of a longer one may take more memory than the model."""

MEMORY_SHARE = 0.5
"""Part of the machine's memory that all loaded models may take together."""

LOADED_FACTOR = 1.3
"""Memory of a loaded model and its context, by the size of its file."""


class LlamaModel:
    """One GGUF file that answers; one conversation at a time.

    Args:
        context_length: Tokens of a conversation at most; fewer where the model has fewer.
        threads: The processor's when absent.

    Raises:
        Failure: The file cannot be loaded, or has no chat template.
        Unavailable: llama-cpp-python is not installed.
    """

    def __init__(
        self, path: Path, context_length: int = LONGEST_CONTEXT, threads: int | None = None
    ) -> None:
        with GgufVocabulary(path) as vocabulary:
            trained, template = vocabulary.context_length, vocabulary.chat_template
        if not template:
            raise Failure(
                f"{path.name} has no chat template; export the model again.",
                code="gguf_without_template",
            )
        self.template = template
        self._model = GgufModel(path, context_length=min(context_length, trained), threads=threads)
        texts = sorted(self._model.control_tokens(), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, filter(None, texts))) or "(?!)")

    def close(self) -> None:
        """Free the memory."""
        self._model.close()

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt for the next answer; raises as ``template.render``."""
        ids: list[int] = []
        for stretch in render(self.template, messages, self._tokens(), self._control):
            ids += self._model.tokenize(stretch.text, parse_special=not stretch.is_literal)
        return ids

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[ChatPiece]:
        """The answer as it is made; its last piece has ``finish`` and the counts.

        Raises:
            InvalidInput: The conversation does not fit into the context, or the template
                refuses it.
        """
        prompt = self.prompt(messages)
        pieces = self._model.generate(
            prompt,
            max_tokens=self._model.context_length
            if options.max_tokens is None
            else options.max_tokens,
            sampling=Sampling(
                temperature=options.temperature,
                top_k=options.top_k,
                top_p=options.top_p,
                seed=options.seed,
            ),
            stop=options.stop,
        )
        for piece in pieces:
            if piece.finish is None:
                yield ChatPiece(piece.text)
            else:
                yield ChatPiece(piece.text, piece.finish, len(prompt), piece.tokens)

    def _tokens(self) -> dict[str, str]:
        found = {}
        for name, key in (("bos_token", "bos"), ("eos_token", "eos")):
            text = self._model.metadata(f"tokenizer.ggml.{key}_token_id")
            found[name] = (
                self._model.piece(int(text), special=True).decode("utf-8", "replace")
                if text
                else ""
            )
        return found


class LlamaModels:
    """The models in memory; those used longest ago make room for others.

    One answer is made at a time, since each keeps all cores busy.

    Args:
        share: Part of the machine's memory that they may take.
        threads: The processor's when absent.
    """

    def __init__(self, share: float = MEMORY_SHARE, threads: int | None = None) -> None:
        self._threads = threads
        self._limit = int(psutil.virtual_memory().total * share)
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[Path, int], tuple[LlamaModel, int]] = OrderedDict()

    def chat(
        self, path: Path, messages: Sequence[Message], options: ChatOptions
    ) -> Iterator[ChatPiece]:
        """The answer of a file's model as it is made; waits for those that came before.

        Raises:
            Unavailable: There is no room for the model (``model_too_large``).
            Failure: It cannot be loaded.
            InvalidInput: As ``LlamaModel.chat``.
        """
        with self._lock:
            yield from self._get(path).chat(messages, options)

    def _get(self, path: Path) -> LlamaModel:
        status = path.stat()
        key = (path, status.st_mtime_ns)
        if key in self._models:
            self._models.move_to_end(key)
            return self._models[key][0]
        size = int(status.st_size * LOADED_FACTOR)
        self._make_room(path, size)
        model = LlamaModel(path, threads=self._threads)
        self._models[key] = (model, size)
        return model

    def _make_room(self, path: Path, size: int) -> None:
        if size > self._limit:
            raise Unavailable(
                f"{path.name} takes about {size / 2**30:.1f} GiB and this machine gives models "
                f"{self._limit / 2**30:.1f} GiB; export it with fewer bits, or use Ollama.",
                code="model_too_large",
                retryAfter=60,
            )
        while size + sum(taken for _, taken in self._models.values()) > self._limit:
            _, (oldest, _) = self._models.popitem(last=False)
            oldest.close()

    def close(self) -> None:
        """Free all memory, once the answer that is being made is done."""
        with self._lock:
            while self._models:
                _, (model, _) = self._models.popitem()
                model.close()
