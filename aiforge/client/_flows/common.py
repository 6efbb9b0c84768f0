"""What the flows of all resources share: decoding, pages, waiting."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from aiforge.client._flow import Call, Flow, Send, Sleep
from aiforge.client._html import grid
from aiforge.errors import InternalError

T = TypeVar("T")


class Page(list[T]):
    """One page of a list, newest first; ``total`` counts all items that the filters match."""

    total: int = 0

    def _repr_html_(self) -> str:
        return html_of(self, self.total)


def html_of(items: Sequence[Any], total: int) -> str:
    """Items as a table: what their kind shows of them, else their first fields."""
    if not items:
        return "<i>none</i>"
    kind = type(items[0])
    names = getattr(kind, "_shown", None) or list(kind.model_fields)[1:7]
    names = [next(iter(kind.model_fields)), *names]
    return grid(names, [[getattr(item, name) for name in names] for item in items], total)


def fetch(kind: type[T], path: str, timeout: float | None = None, **params: Any) -> Flow[T]:
    """Get one value."""
    response = yield Send(Call("GET", path, params=params, timeout=timeout))
    return decode(kind, response)


def fetch_page(kind: type[T], path: str, **params: Any) -> Flow[Page[T]]:
    """Get one page of a list."""
    response = yield Send(Call("GET", path, params=params))
    page = Page(decode(list[kind], response))  # type: ignore[valid-type]
    page.total = int(response.headers.get("x-total-count", len(page)))
    return page


def post(kind: type[T], path: str, **call: Any) -> Flow[T]:
    """Post something; the key makes a repetition after a lost answer harmless."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    response = yield Send(Call("POST", path, headers=headers, **call))
    return decode(kind, response)


def delete(kind: type[T], path: str) -> Flow[T]:
    """Delete something."""
    response = yield Send(Call("DELETE", path))
    return decode(kind, response)


def decode(kind: type[T], response: httpx.Response) -> T:
    """The body as a type.

    Raises:
        InternalError: The body is of another shape; an AI Forge server does not answer so.
    """
    try:
        return TypeAdapter(kind).validate_json(response.content)
    except ValidationError as error:
        raise InternalError(
            f"{response.request.url} answers, but not as an AI Forge server of this version does; "
            "check the address.",
            code="unexpected_answer",
        ) from error


def given(**values: Any) -> dict[str, Any]:
    """The values that are not ``None``, under their names on the wire."""
    return {_camel(name): value for name, value in values.items() if value is not None}


def until(
    read: Callable[[], Flow[T]], done: Callable[[T], bool], timeout: float | None, what: str
) -> Flow[T]:
    """Read again and again, ever more slowly up to two seconds, until it is done.

    Raises:
        TimeoutError: It is not done after ``timeout`` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    delay = 0.1
    while True:
        value = yield from read()
        if done(value):
            return value
        if deadline is not None and time.monotonic() + delay > deadline:
            raise TimeoutError(f"{what} is not done after {timeout:g} seconds.")
        yield Sleep(delay)
        delay = min(2.0, delay * 1.5)


def quoted(identifier: str) -> str:
    """An identifier as one segment of a path, whatever it holds."""
    from urllib.parse import quote

    return quote(identifier, safe="") or "%00"


def options(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A nested mapping under its names on the wire."""
    return None if config is None else {_camel(name): value for name, value in config.items()}


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)
