"""The client without its input and output.

What the client does is written once, as generators that yield *effects*: send this call, sleep
so long, hand out this item. Two small drivers perform the effects, one that blocks and one that
awaits. So the synchronous and the asynchronous client cannot drift apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast

import httpx

from aiforge.client._files import Progress, multipart_files

Item = TypeVar("Item")
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One HTTP request, described. ``timeout`` in seconds overrides the client's read timeout."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, Path]] = ()
    progress: Progress | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None

    def build(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The request, with files opened from their beginning."""
        timeout = httpx.Timeout(http.timeout)
        if self.timeout is not None:
            timeout.read = self.timeout
        return http.build_request(
            self.method,
            self.path,
            params={name: value for name, value in self.params.items() if value is not None},
            json=self.json,
            data=dict(self.form) or None,
            files=multipart_files(self.files, self.progress) or None,
            headers=dict(self.headers),
            timeout=timeout,
        )


@dataclass(frozen=True)
class Send:
    """Send a call, with retries; the answer is a successful response, read to its end."""

    call: Call


@dataclass(frozen=True)
class Transmit:
    """Send a call once; the answer is any response, read to its end."""

    call: Call


@dataclass(frozen=True)
class Open:
    """Send a call once; the answer is a ``Stream``."""

    call: Call


@dataclass(frozen=True)
class Read:
    """The next bytes of a stream; the answer is ``b""`` at its end."""

    stream: Stream


@dataclass(frozen=True)
class Sleep:
    """Wait for a number of seconds."""

    seconds: float


@dataclass(frozen=True)
class Emit(Generic[Item]):
    """Hand an item to whoever iterates."""

    item: Item


@dataclass
class Stream:
    """A response whose body arrives bit by bit."""

    response: httpx.Response
    chunks: Any


Effect: TypeAlias = Send | Transmit | Open | Read | Sleep
Flow: TypeAlias = Generator[Effect, Any, T]
ItemFlow: TypeAlias = Generator[Effect | Emit[Item], Any, None]
Retrying: TypeAlias = Callable[[Call], "Flow[httpx.Response]"]


class Driver:
    """Performs effects and blocks while they last.

    Args:
        http: Where requests go.
        retrying: The flow that a ``Send`` stands for.
    """

    def __init__(self, http: httpx.Client, retrying: Retrying) -> None:
        self.http = http
        self._retrying = retrying

    def run(self, flow: Flow[T]) -> T:
        """The result of a flow that emits nothing."""
        with contextlib.ExitStack() as stack:
            stack.callback(flow.close)
            step = _Step(flow)
            while (effect := step.next()) is not None:
                with step.outcome():
                    step.value = self._perform(effect, stack)
            return cast(T, step.result)

    def iterate(self, flow: ItemFlow[Item]) -> Iterator[Item]:
        """The items that a flow emits."""
        with contextlib.ExitStack() as stack:
            stack.callback(flow.close)
            step = _Step(flow)
            while (effect := step.next()) is not None:
                if isinstance(effect, Emit):
                    yield effect.item
                else:
                    with step.outcome():
                        step.value = self._perform(effect, stack)

    def _perform(self, effect: Effect, stack: contextlib.ExitStack) -> Any:
        match effect:
            case Send(call):
                return self.run(self._retrying(call))
            case Transmit(call):
                return self.http.send(call.build(self.http))
            case Open(call):
                response = self.http.send(call.build(self.http), stream=True)
                stack.callback(response.close)
                if response.is_error:
                    response.read()
                return Stream(response, None if response.is_error else response.iter_bytes())
            case Read(stream):
                return next(stream.chunks, b"")
            case Sleep(seconds):
                return time.sleep(seconds)


class AsyncDriver:
    """Performs effects and lets others run while they last; see ``Driver``."""

    def __init__(self, http: httpx.AsyncClient, retrying: Retrying) -> None:
        self.http = http
        self._retrying = retrying

    async def run(self, flow: Flow[T]) -> T:
        """The result of a flow that emits nothing."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(flow.close)
            step = _Step(flow)
            while (effect := step.next()) is not None:
                with step.outcome():
                    step.value = await self._perform(effect, stack)
            return cast(T, step.result)

    async def iterate(self, flow: ItemFlow[Item]) -> AsyncIterator[Item]:
        """The items that a flow emits."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(flow.close)
            step = _Step(flow)
            while (effect := step.next()) is not None:
                if isinstance(effect, Emit):
                    yield effect.item
                else:
                    with step.outcome():
                        step.value = await self._perform(effect, stack)

    async def _perform(self, effect: Effect, stack: contextlib.AsyncExitStack) -> Any:
        match effect:
            case Send(call):
                return await self.run(self._retrying(call))
            case Transmit(call):
                return await self.http.send(call.build(self.http))
            case Open(call):
                response = await self.http.send(call.build(self.http), stream=True)
                stack.push_async_callback(response.aclose)
                if response.is_error:
                    await response.aread()
                return Stream(response, None if response.is_error else response.aiter_bytes())
            case Read(stream):
                return await anext(stream.chunks, b"")
            case Sleep(seconds):
                return await asyncio.sleep(seconds)


class _Step:
    """A flow together with what the last effect gave: a value, or an error to be raised in it."""

    def __init__(self, flow: Generator[Any, Any, Any]) -> None:
        self._flow = flow
        self._error: Exception | None = None
        self.value: Any = None
        self.result: Any = None

    def next(self) -> Any:
        """The next effect; ``None`` when the flow has ended and ``result`` is set."""
        value, error = self.value, self._error
        self.value = self._error = None
        try:
            return self._flow.throw(error) if error is not None else self._flow.send(value)
        except StopIteration as stop:
            self.result = stop.value
            return None

    @contextlib.contextmanager
    def outcome(self) -> Iterator[None]:
        """Keep an exception of the body for the flow to handle."""
        try:
            yield
        except Exception as error:
            self._error = error
