"""How long an answer takes, measured through whatever engine gives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from aiforge.errors import Failure

PROMPTS = (
    "Explain what this function does.\n\ndef area(width, height):\n    return width * height",
    "Write a Python function that returns the largest of three numbers.",
    "What is the difference between a list and a tuple in Python?",
    "Fix the error in this line: for i in range(10) print(i)",
    "Write a docstring for a function that reads a file and counts its words.",
)
"""The same for every model, so that figures compare."""

WARMUP = 2


class Generates(Protocol):
    """An engine that answers one request: the only thing that latency asks of it."""

    name: str
    """For a person, with its version where it has one."""

    hardware: str
    dtype: str

    def __call__(self, prompt: str, max_new_tokens: int, on_token: Callable[[], None]) -> None:
        """Answer a prompt, calling ``on_token`` as each token comes."""
        ...


@dataclass(frozen=True)
class Latency:
    """Times in milliseconds over requests, one at a time.

    Attributes:
        first: p50, p95 and p99 of the time to the first token.
        per_token: The same of a request's mean time per further token.
        tokens_per_second: All tokens by all time.
    """

    first: tuple[float, float, float]
    per_token: tuple[float, float, float] | None
    tokens_per_second: float
    requests: int
    tokens: int


def measure(engine: Generates, requests: int, max_new_tokens: int) -> Latency:
    """Time requests, after some that warm up.

    Raises:
        Failure: The engine gave no token.
    """
    for index in range(WARMUP):
        _time(engine, PROMPTS[index % len(PROMPTS)], max_new_tokens)
    firsts, rates, tokens, total = [], [], 0, 0.0
    for index in range(requests):
        begun, moments = _time(engine, PROMPTS[index % len(PROMPTS)], max_new_tokens)
        firsts.append(1000 * (moments[0] - begun))
        if len(moments) > 1:
            rates.append(1000 * (moments[-1] - moments[0]) / (len(moments) - 1))
        tokens += len(moments)
        total += moments[-1] - begun
    return Latency(
        first=_percentiles(firsts),
        per_token=_percentiles(rates) if rates else None,
        tokens_per_second=tokens / total,
        requests=requests,
        tokens=tokens,
    )


def details(timed: Latency, engine: Generates) -> dict[str, Any]:
    """How latency was measured, for people."""
    told: dict[str, Any] = {
        "engine": engine.name,
        "hardware": engine.hardware,
        "dtype": engine.dtype,
        "tokensPerSecond": timed.tokens_per_second,
        "tokens": timed.tokens,
    }
    names = ("p50", "p95", "p99")
    told["firstTokenMs"] = dict(zip(names, timed.first, strict=True))
    if timed.per_token is not None:
        told["perTokenMs"] = dict(zip(names, timed.per_token, strict=True))
    return told


def _time(engine: Generates, prompt: str, max_new_tokens: int) -> tuple[float, list[float]]:
    moments: list[float] = []
    begun = time.perf_counter()
    engine(prompt, max_new_tokens, lambda: moments.append(time.perf_counter()))
    if not moments:
        raise Failure(f"{engine.name} answered without a token.", code="engine_silent")
    return begun, moments


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return float(p50), float(p95), float(p99)
