"""The header and the tokenizer of a GGUF file, as llama.cpp reads them.

Its public C interface is called, here and where the model itself is run.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiforge.errors import Failure
from aiforge.modeling import llama_library

_PIECE_BYTES = 64
_CONTROL = 1 << 3
"""``LLAMA_TOKEN_ATTR_CONTROL``."""


class GgufVocabulary:
    """Metadata, texts and token ids of a file.

    Args:
        path: The file; its weights are left alone.

    Raises:
        Unavailable: llama-cpp-python is not installed.
        Failure: The file is no model that llama.cpp can run (``gguf_unreadable``).
    """

    _vocabulary_only = True

    def __init__(self, path: Path) -> None:
        self._library = library = llama_library.load()
        self._lock = threading.Lock()
        parameters = library.llama_model_default_params()
        parameters.vocab_only = self._vocabulary_only
        llama_library.forget_errors()
        self._model: Any = library.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise Failure(
                f"llama.cpp cannot load {path.name}: {llama_library.reason()}.",
                code="gguf_unreadable",
            )
        self._vocabulary = library.llama_model_get_vocab(self._model)
        self.vocabulary_size = int(library.llama_vocab_n_tokens(self._vocabulary))
        self.context_length = int(library.llama_model_n_ctx_train(self._model))

    def close(self) -> None:
        """Free the memory; a second time nothing happens."""
        with self._lock:
            self._free()

    def _free(self) -> None:
        if self._model:
            self._library.llama_model_free(self._model)
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def metadata(self, key: str) -> str | None:
        """A value of the file's header as text; ``None`` where there is none."""
        size = 1 << 10
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._library.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1

    @property
    def chat_template(self) -> str | None:
        """The embedded Jinja template."""
        return self.metadata("tokenizer.chat_template")

    @property
    def end_token(self) -> int:
        """Id of the token that ends a sequence; -1 where there is none."""
        return int(self._library.llama_vocab_eos(self._vocabulary))

    def ends_generation(self, token: int) -> bool:
        """Whether generation stops at a token."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def control_tokens(self) -> list[str]:
        """The texts of all control tokens, which no message may spell out."""
        library, vocabulary = self._library, self._vocabulary
        return [
            self.piece(token).decode("utf-8", "replace")
            for token in range(self.vocabulary_size)
            if library.llama_vocab_get_attr(vocabulary, token) & _CONTROL
        ]

    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> list[int]:
        """Token ids of a text.

        Args:
            add_special: Put the begin-of-sequence token in front, where the model wants one.
            parse_special: Read control tokens that the text spells out as what they are.
        """
        data = text.encode()
        room = len(data) + 16
        while True:
            buffer = (ctypes.c_int32 * room)()
            count = self._library.llama_tokenize(
                self._vocabulary, data, len(data), buffer, room, add_special, parse_special
            )
            if count >= 0:
                return list(buffer[:count])
            room = -count

    def piece(self, token: int, *, special: bool = True) -> bytes:
        """The bytes of one token; of a control token its name, or nothing without ``special``."""
        room = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = self._library.llama_token_to_piece(
                self._vocabulary, token, buffer, room, 0, special
            )
            if count >= 0:
                return bytes(buffer.raw[:count])
            room = -count

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of tokens; what is no valid UTF-8 becomes the replacement character."""
        return b"".join(self.piece(t, special=special) for t in tokens).decode("utf-8", "replace")
