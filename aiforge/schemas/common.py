"""What all wire types share: camelCase keys, timestamps, identifiers, the error body."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, field_validator
from pydantic.alias_generators import to_camel

ResourcePrefix = Literal["job", "ds", "src", "model", "mission", "art", "export", "key", "hook"]
IdPrefix = ResourcePrefix | Literal["parse", "run", "req", "msg"]

Item = TypeVar("Item")

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_last_id = 0
_last_id_lock = threading.Lock()


def new_id(prefix: IdPrefix) -> str:
    """A fresh identifier: the prefix and 26 characters that sort by time of creation (ULID).

    Those that one process makes sort in the order of their making, within a millisecond too.
    """
    global _last_id
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    with _last_id_lock:
        number = _last_id = max(number, _last_id + 1)
    digits = []
    for _ in range(13):
        number, pair = divmod(number, 1024)
        digits.append(_PAIRS[pair])
    return f"{prefix}-{''.join(reversed(digits))}"


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def _rfc3339(moment: datetime) -> str:
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


Timestamp = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
"""A moment in UTC; on the wire RFC 3339 with ``Z``."""


class Wire(BaseModel):
    """A type that crosses the wire: camelCase keys there, snake_case in Python."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


class Request(Wire):
    """A request body; unknown keys are refused, so a typing error never passes as a default."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        serialize_by_alias=True,
        extra="forbid",
        str_strip_whitespace=True,
    )

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\x00" in text for text in texts):
            raise ValueError("Must not contain NUL characters")
        return value


class Page(Wire):
    """Which part of a list is wanted, newest first."""

    limit: int = 50
    offset: int = 0


class Listing(Wire, Generic[Item]):
    """One page of a list and the number of items that the filters match."""

    items: list[Item]
    total: int


class JsonListing(Wire):
    """As ``Listing``, with the items as the JSON array that goes over the wire."""

    body: bytes
    total: int


class Message(Wire):
    """An acknowledgement."""

    message: str


class ErrorBody(Wire):
    """The one body of every error."""

    status: int
    message: str
    detail: dict[str, Any]
