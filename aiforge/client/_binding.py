"""Turns flows into methods: ``get = blocking(flows.get)``, ``get = awaiting(flows.get)``.

A method keeps its flow's parameters, documentation and types. With ``present`` it gives its
result another form, as a handle does.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from aiforge.client._flow import AsyncDriver, Driver, Flow, ItemFlow

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_RESULT = re.compile(r"^(?:Item)?Flow\[(.*)\]$")


class Blocking(Protocol):
    """Whatever holds a driver that blocks."""

    _driver: Driver


class Awaiting(Protocol):
    """Whatever holds a driver that awaits."""

    _driver: AsyncDriver


@overload
def blocking(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Blocking, P], T]: ...
@overload
def blocking(
    flow: Callable[P, Flow[T]], present: Callable[[Driver, T], R]
) -> Callable[Concatenate[Blocking, P], R]: ...
def blocking(flow: Callable[..., Flow[Any]], present: Any = None) -> Callable[..., Any]:
    """A method that runs the flow and returns its result."""

    def method(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        result = self._driver.run(flow(*args, **kwargs))
        return present(self._driver, result) if present else result

    return documented(method, flow)


@overload
def awaiting(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Awaiting, P], Awaitable[T]]: ...
@overload
def awaiting(
    flow: Callable[P, Flow[T]], present: Callable[[AsyncDriver, T], R]
) -> Callable[Concatenate[Awaiting, P], Awaitable[R]]: ...
def awaiting(flow: Callable[..., Flow[Any]], present: Any = None) -> Callable[..., Any]:
    """A coroutine method that runs the flow and returns its result."""

    async def method(self: Awaiting, *args: Any, **kwargs: Any) -> Any:
        result = await self._driver.run(flow(*args, **kwargs))
        return present(self._driver, result) if present else result

    return documented(method, flow)


def iterating(flow: Callable[P, ItemFlow[T]]) -> Callable[Concatenate[Blocking, P], Iterator[T]]:
    """A method that iterates over what the flow emits."""

    def method(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        return self._driver.iterate(flow(*args, **kwargs))

    return documented(method, flow)


def async_iterating(
    flow: Callable[P, ItemFlow[T]],
) -> Callable[Concatenate[Awaiting, P], AsyncIterator[T]]:
    """A method that iterates asynchronously over what the flow emits."""

    def method(self: Awaiting, *args: Any, **kwargs: Any) -> Any:
        return self._driver.iterate(flow(*args, **kwargs))

    return documented(method, flow)


def documented(
    method: Callable[..., Any], flow: Callable[..., Any], *, bound: bool = False
) -> Callable[..., Any]:
    """Give a method the name, documentation and parameters of a flow.

    Args:
        bound: The flow's first parameter is the identifier, which the object supplies.
    """
    functools.update_wrapper(method, flow)
    # With it, ``inspect`` would show the flow's parameters without its first as the method's.
    del method.__wrapped__  # type: ignore[attr-defined]
    method.__name__ = flow.__name__.rstrip("_")
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(flow)
    parameters = list(signature.parameters.values())[1 if bound else 0 :]
    returned = _RESULT.sub(r"\1", str(signature.return_annotation))
    method.__annotations__ = method.__annotations__ | {"return": returned}
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *parameters], return_annotation=returned
    )
    return method
