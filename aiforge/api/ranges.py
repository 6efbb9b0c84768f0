"""A part of a representation, as RFC 9110 section 14 has it; several ranges are answered whole."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aiforge.errors import Rejected

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def wanted(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | None:
    """First byte and the one after the last that ``Range`` asks for; ``None`` for all.

    A range that is not understood, or that ``If-Range`` binds to another content, means all.

    Raises:
        Rejected: The range lies beyond the content (``range_not_satisfiable``).
    """
    found = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or headers.get("if-range", etag) != etag:
        return None
    first, last = found.groups()
    if (not first and not last) or (first and last and int(last) < int(first)):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise Rejected(
            f"The content has {size} bytes; ask for a range within it.",
            code="range_not_satisfiable",
            size=size,
        )
    return start, end


def has(headers: Mapping[str, str], etag: str) -> bool:
    """Whether ``If-None-Match`` names this content, so that the client has it already."""
    tags = headers.get("if-none-match", "").split(",")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags)
