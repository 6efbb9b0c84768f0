"""A process that carries out one attempt of a run and kills itself on the way.

It dies when a stage begins, or in the middle of one: ``MIDDLES`` says where.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aiforge.export import exporter, gguf_file, reference, weights
from aiforge.modeling import llama_library
from aiforge.runtime.drivers import Driver
from aiforge.services.context import RunContext
from aiforge.settings import Settings
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage

PUBLISHED = "published"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The same function, which is the end when it is called for the nth time."""
    calls = iter(range(1, at))

    def dying(*given: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            die()
        return call(*given, **named)

    return dying


def _while_merging() -> None:
    merged = weights.MergedWeights._merged
    weights.MergedWeights._merged = _dying(merged, 9)  # type: ignore[method-assign]


def _while_writing() -> None:
    gguf_file.stored = _dying(gguf_file.stored, 12)


def _while_comparing() -> None:
    read = reference.LazyState.__getitem__
    reference.LazyState.__getitem__ = _dying(read, 6)  # type: ignore[method-assign]


def _while_quantizing() -> None:
    """In a line of the library's log that tells of a tensor: some are written, others are not."""
    llama_library.load()
    import ctypes

    import llama_cpp as package
    from llama_cpp import llama_cpp as library

    tensors: Iterator[int] = iter(range(6))

    def take(level: int, text: bytes, user_data: Any) -> None:
        if b"converting to" in text and next(tensors, None) is None:
            die()

    global _callback
    _callback = package.llama_log_callback(take)
    library.llama_log_set(_callback, ctypes.c_void_p(0))


_callback: Any = None
"""Must live as long as the library may call it."""


def _while_hashing() -> None:
    exporter._sha256 = lambda path: die()  # type: ignore[assignment,return-value]


def _while_publishing() -> None:
    """What is published is being written to the disk, and has no name in the storage yet."""
    adopt = Storage.adopt

    def adopting(*given: Any) -> None:
        os.fsync = lambda descriptor: die()
        adopt(*given)

    Storage.adopt = adopting  # type: ignore[method-assign]


MIDDLES: dict[str, Callable[[], None]] = {
    "amid merging": _while_merging,
    "amid writing": _while_writing,
    "amid comparing": _while_comparing,
    "amid quantizing": _while_quantizing,
    "amid hashing": _while_hashing,
    "amid publishing": _while_publishing,
}


def main(home: str, run_id: str, attempt: int, where: str) -> None:
    report = RunContext.progress

    def progress(
        self: RunContext, fraction: float, stage: str | None = None, **metrics: Any
    ) -> None:
        report(self, fraction, stage, **metrics)
        if stage == where:
            die()

    RunContext.progress = progress  # type: ignore[method-assign]
    if where == PUBLISHED:
        RunContext.artifact = lambda *given, **named: die()  # type: ignore[assignment]
    MIDDLES.get(where, lambda: None)()
    settings = Settings(home=Path(home))
    state = LocalState(Store(settings.resolved_database_url))
    Driver(settings, run_id, attempt, state=state).join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
