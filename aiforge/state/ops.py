"""How an operation on the state is declared: a plain function that takes a connection first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, ParamSpec, TypeVar, get_type_hints

from pydantic import TypeAdapter

from aiforge.errors import InternalError

P = ParamSpec("P")
T = TypeVar("T")

Mode = Literal["read", "write"]

PACKAGE = "aiforge.state."


def read(function: Callable[P, T]) -> Callable[P, T]:
    """Mark an operation that changes nothing and looks at few rows; many of these run at once.

    On SQLite it takes less time than handing it to a thread would, so an event loop may carry it
    out itself.
    """
    return _mark(function, "read")


def scan(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a read of as many rows as there are; it never runs on an event loop."""
    function.__aiforge_scans__ = True  # type: ignore[attr-defined]
    return _mark(function, "read")


def repeatable(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a read, of hashable arguments, that the database alone decides: no clock, no file.

    Its result may be given again, until something is committed; nobody changes it.
    """
    function.__aiforge_repeatable__ = True  # type: ignore[attr-defined]
    return function


def write(function: Callable[P, T]) -> Callable[P, T]:
    """Mark an operation that may change anything; one of these runs at a time.

    Its result must survive JSON by its return annotation, since a repeated request is answered
    with the stored result of the first.
    """
    return _mark(function, "write")


def _mark(function: Callable[P, T], mode: Mode) -> Callable[P, T]:
    function.__aiforge_mode__ = mode  # type: ignore[attr-defined]
    return function


def mode_of(op: Callable[..., Any]) -> Mode:
    """Whether an operation reads or writes.

    Raises:
        InternalError: The function is no operation.
    """
    mode: Mode | None = getattr(op, "__aiforge_mode__", None)
    if mode is None:
        raise InternalError(f"{op!r} is no operation on the state.", code="not_an_operation")
    return mode


def is_scan(op: Callable[..., Any]) -> bool:
    """Whether a read may take long."""
    return getattr(op, "__aiforge_scans__", False)


def is_repeatable(op: Callable[..., Any]) -> bool:
    """Whether a read's result may be given again while the database is what it was."""
    return getattr(op, "__aiforge_repeatable__", False)


def name_of(op: Callable[..., Any]) -> str:
    """``module:name``, by which the operation is found again in another process."""
    return f"{op.__module__}:{op.__qualname__}"


@cache
def resolve(name: str) -> Callable[..., Any]:
    """The operation of that name; only functions that this package declares can be reached.

    Raises:
        InternalError: There is no such operation.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith(PACKAGE):
        raise InternalError(f"{name} lies outside the state.", code="not_an_operation")
    op: Callable[..., Any] | None = getattr(importlib.import_module(module), attribute, None)
    if op is None:
        raise InternalError(f"There is no operation {name}.", code="not_an_operation")
    mode_of(op)
    return op


@cache
def result_type(op: Callable[..., Any]) -> TypeAdapter[Any]:
    """How an operation's result becomes JSON and comes back from it."""
    return TypeAdapter(get_type_hints(op)["return"])
