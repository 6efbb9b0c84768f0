"""Latency counts requests and tokens of whatever engine it is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiforge.errors import Failure
from aiforge.evaluation import latency
from aiforge.evaluation.latency import PROMPTS, WARMUP, measure


class Clock:
    """Time that passes only when the engine works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Engine:
    """Takes 50 ms for the first token, 10 ms for each further one."""

    name, hardware, dtype = "an engine", "a machine", "float32"

    def __init__(self, clock: Clock, tokens: int | None = None) -> None:
        self.clock, self.tokens, self.prompts = clock, tokens, list[str]()

    def __call__(self, prompt: str, max_new_tokens: int, on_token: Callable[[], None]) -> None:
        slow = 10 if len(self.prompts) < WARMUP else 1
        self.prompts.append(prompt)
        for index in range(max_new_tokens if self.tokens is None else self.tokens):
            self.clock.now += slow * (0.05 if index == 0 else 0.01)
            on_token()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


def test_times_are_those_of_the_engine_once_it_is_warm(clock: Clock) -> None:
    engine = Engine(clock)

    measured = measure(engine, 7, 11)

    assert measured.first == pytest.approx((50, 50, 50))
    assert measured.per_token == pytest.approx((10, 10, 10))
    assert measured.tokens_per_second == pytest.approx(11 / 0.15)
    assert (measured.requests, measured.tokens) == (7, 77)
    assert len(engine.prompts) == 7 + WARMUP
    assert engine.prompts[WARMUP : WARMUP + 5] == list(PROMPTS)


def test_one_token_tells_nothing_of_further_ones(clock: Clock) -> None:
    measured = measure(Engine(clock, tokens=1), 3, 11)

    assert measured.per_token is None
    assert measured.first[0] == pytest.approx(50)


def test_an_engine_that_says_nothing_has_no_latency(clock: Clock) -> None:
    with pytest.raises(Failure, match="without a token"):
        measure(Engine(clock, tokens=0), 3, 11)
