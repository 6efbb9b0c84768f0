"""The one place that imports ``llama_cpp``: when it is first needed, and with its log kept."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

from aiforge.errors import Unavailable

_last_error: list[str] = []
"""What llama.cpp complained about since the list was cleared."""


def forget_errors() -> None:
    """Begin anew: ``reason`` tells of what comes after this."""
    _last_error.clear()


def reason() -> str:
    """The first complaint."""
    lines = [line.strip() for line in _last_error if line.strip()]
    return lines[0].rstrip(".")[:300] if lines else "it gave no reason"


@cache
def load() -> Any:
    """The C interface, silenced.

    Raises:
        Unavailable: It is not installed, or cannot be loaded (``llama_cpp_missing``).
    """
    try:
        import llama_cpp
        from llama_cpp import llama_cpp as library
    except (ImportError, OSError, RuntimeError) as error:
        raise Unavailable(
            f"llama.cpp cannot be loaded ({error}). Install it with "
            "pip install 'aiforge[export]'; it needs a C++ compiler.",
            code="llama_cpp_missing",
            retryAfter=3600,
        ) from error
    # The callback must live as long as the library may call it.
    library.llama_log_set(_take_log_line(llama_cpp), ctypes.c_void_p(0))
    library.llama_backend_init()
    return library


@cache
def _take_log_line(llama_cpp: Any) -> Any:
    error_level = 4

    def take(level: int, text: bytes, user_data: Any) -> None:
        if level == error_level and len(_last_error) < 20:
            _last_error.append(text.decode("utf-8", "replace"))

    return llama_cpp.llama_log_callback(take)


def threads() -> int:
    """How many threads llama.cpp computes with where nothing else is said: one per core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
