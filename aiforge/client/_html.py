"""How resources look in a notebook: small tables of escaped text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST = 200
"""Characters of a value that are shown."""

ROWS = 50


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values below each other, as HTML."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{_text(name)}</th><td>{_text(value)}</td></tr>"
        for name, value in pairs
    )
    return f"<table>{rows}</table>"


def grid(names: Sequence[str], rows: Sequence[Sequence[Any]], total: int) -> str:
    """Rows under headings, and how many there are in all, as HTML."""
    head = "".join(f"<th style='text-align:left'>{_text(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>"
        for row in rows[:ROWS]
    )
    shown = min(len(rows), ROWS)
    return f"<table><tr>{head}</tr>{body}</table><small>{shown} of {total}</small>"


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return html.escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
