"""Quantizing GGUF files by llama.cpp."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from aiforge.errors import Failure
from aiforge.modeling import llama_library

FILE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q8_0": 7,
    "q2_k": 10,
    "q3_k_m": 12,
    "q4_k_s": 14,
    "q4_k_m": 15,
    "q5_k_m": 17,
    "q6_k": 18,
    "bf16": 32,
}
"""``enum llama_ftype`` by the names that the API uses."""


def quantize(source: Path, target: Path, file_type: str, *, threads: int | None = None) -> None:
    """Quantize a GGUF of type f32, f16 or bf16.

    A tensor whose rows are no multiple of a k-quant's block of 256 gets another type; the
    target's tensor table tells which.

    Args:
        file_type: A key of ``FILE_TYPES``.

    Raises:
        Failure: llama.cpp refused; the partial target is removed.
    """
    library = llama_library.load()
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[file_type]
    parameters.nthread = threads or llama_library.threads()
    llama_library.forget_errors()
    code = library.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)
    )
    if code != 0 or not target.is_file():
        target.unlink(missing_ok=True)
        raise Failure(
            f"llama.cpp could not quantize to {file_type}: {llama_library.reason()}.",
            code="quantize_failed",
        )
