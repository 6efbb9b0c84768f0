"""llama.cpp through llama-cpp-python: logits and answers of a GGUF.

Its public C interface is called, since its Python classes allocate logits for a whole context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aiforge.errors import Failure, InvalidInput
from aiforge.modeling import llama_library
from aiforge.modeling.gguf_vocabulary import GgufVocabulary
from aiforge.modeling.text_stream import TextStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 512
_F32 = 0
"""``GGML_TYPE_F32``: the type of a key-value cache that loses nothing."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; greedily where ``temperature`` is 0."""

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Piece:
    """A stretch of generated text; the last one says why it is the last.

    ``tokens`` counts those generated so far, the one that ends the turn included.
    """

    text: str
    tokens: int
    finish: Finish | None = None


class GgufModel(GgufVocabulary):
    """One GGUF file in memory, with a single sequence; safe to use from several threads in turn.

    Args:
        path: The file; its weights are mapped, not read.
        context_length: Tokens of prompt and answer together; the model's own when absent.
        exact: Keep keys and values in float32 and use plain attention, to compare with others.
        threads: The processor's when absent.

    Raises:
        Unavailable: llama-cpp-python is not installed.
        Failure: The file is no model that llama.cpp can run (``gguf_unreadable``).
    """

    _vocabulary_only = False

    def __init__(
        self,
        path: Path,
        *,
        context_length: int | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> None:
        self._context: Any = None
        self._batch: Any = None
        super().__init__(path)
        self.context_length = context_length or self.context_length
        self._open_context(exact, threads or llama_library.threads())

    def _open_context(self, exact: bool, threads: int) -> None:
        library = self._library
        parameters = library.llama_context_default_params()
        parameters.n_ctx = self.context_length
        parameters.n_batch = parameters.n_ubatch = min(_BATCH, self.context_length)
        parameters.n_threads = parameters.n_threads_batch = threads
        if exact:
            parameters.type_k = parameters.type_v = _F32
            parameters.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = library.llama_init_from_model(self._model, parameters)
        if not self._context:
            self.close()
            raise Failure(
                f"llama.cpp cannot open a context of {self.context_length} tokens: "
                f"{llama_library.reason()}. Ask for a shorter one, or free memory.",
                code="gguf_context_failed",
            )
        self._batch = library.llama_batch_init(parameters.n_batch, 0, 1)
        self._batch_size = int(parameters.n_batch)

    def _free(self) -> None:
        if self._batch is not None:
            self._library.llama_batch_free(self._batch)
        if self._context:
            self._library.llama_free(self._context)
        self._batch = self._context = None
        super()._free()

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Logits behind each token, ``[tokens, vocabulary]``."""
        with self._lock:
            return np.concatenate(list(self._decoded(tokens, every=True)))

    def greedy(self, tokens: Sequence[int], count: int) -> list[int]:
        """The ``count`` most likely tokens that follow, whatever they are."""
        with self._lock:
            found = [int(self._last_logits(tokens).argmax())]
            for position in range(len(tokens), len(tokens) + count - 1):
                self._decode(found[-1:], position)
                found.append(int(self._output(-1).argmax()))
        return found

    def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """Generate until the turn ends, a stop text appears, or the tokens are used up.

        The model serves nobody else until the iterator is exhausted or closed.

        Args:
            prompt: Token ids, not empty.
            max_tokens: At most; the context may end sooner.
            stop: Texts that end the answer and are no part of it.

        Raises:
            InvalidInput: The prompt is empty or fills the context (``prompt_too_long``).
        """
        room = self.context_length - len(prompt)
        if not prompt or room < 1:
            raise InvalidInput(
                f"The prompt has {len(prompt)} tokens; 1 to {self.context_length - 1} fit into "
                "the model's context.",
                code="prompt_too_long",
            )
        return self._generate(list(prompt), min(max_tokens, room), sampling or Sampling(), stop)

    def _generate(
        self, prompt: list[int], limit: int, sampling: Sampling, stop: Sequence[str]
    ) -> Iterator[Piece]:
        text = TextStream(stop)
        with self._lock:
            sampler = self._sampler(sampling)
            try:
                self._last_logits(prompt)
                for number in range(1, limit + 1):
                    token = self._library.llama_sampler_sample(sampler, self._context, -1)
                    if self.ends_generation(token):
                        yield Piece(text.rest(), number, "stop")
                        return
                    ready = text.add(self.piece(token, special=False))
                    if text.stopped:
                        yield Piece(ready, number, "stop")
                        return
                    if number == limit:
                        yield Piece(ready + text.rest(), number, "length")
                        return
                    if ready:
                        yield Piece(ready, number)
                    self._decode([token], len(prompt) + number - 1)
            finally:
                self._library.llama_sampler_free(sampler)

    def _sampler(self, sampling: Sampling) -> Any:
        library = self._library
        chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        if sampling.temperature <= 0:
            library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
            return chain
        for part in (
            library.llama_sampler_init_top_k(sampling.top_k),
            library.llama_sampler_init_top_p(sampling.top_p, 1),
            library.llama_sampler_init_temp(sampling.temperature),
            library.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF),
        ):
            library.llama_sampler_chain_add(chain, part)
        return chain

    def _last_logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        *_, last = self._decoded(tokens, every=False)
        row: NDArray[np.float32] = last[-1]
        return row

    def _decoded(self, tokens: Sequence[int], every: bool) -> Iterator[NDArray[np.float32]]:
        """Logits of a fresh sequence by batches: of every token, or of each batch's last."""
        memory = self._library.llama_get_memory(self._context)
        self._library.llama_memory_clear(memory, True)
        for start in range(0, len(tokens), self._batch_size):
            part = tokens[start : start + self._batch_size]
            self._decode(part, start, every=every)
            wanted = range(len(part)) if every else (-1,)
            yield np.stack([self._output(index) for index in wanted])

    def _decode(self, tokens: Sequence[int], position: int, every: bool = False) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = every or index == len(tokens) - 1
        llama_library.forget_errors()
        if code := self._library.llama_decode(self._context, batch):
            raise Failure(
                f"llama.cpp cannot evaluate the tokens (code {code}): {llama_library.reason()}.",
                code="gguf_evaluation_failed",
            )

    def _output(self, index: int) -> NDArray[np.float32]:
        row = self._library.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(row, shape=(self.vocabulary_size,)).copy()
