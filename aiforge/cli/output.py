"""Tables and figures for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Item = TypeVar("Item")

_PICTURES: dict[int, int] = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys(
        (0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD
    ),
}

_COLOURS = {
    **dict.fromkeys(("completed", "ready", "synced", "healthy", "active", "approved"), "green"),
    **dict.fromkeys(("running", "generating", "syncing"), "cyan"),
    **dict.fromkeys(("queued", "cancelling", "degraded", "pending_approval"), "yellow"),
    **dict.fromkeys(("failed", "unhealthy", "rejected"), "red"),
    "cancelled": "magenta",
}


def printable(text: str) -> str:
    """A text that came from elsewhere as a terminal may show it, tabs and line breaks kept.

    Control characters would move the cursor, rename the window or answer in the person's name,
    and marks of direction show other text than is there; pictures stand in their place.
    """
    return text.translate(_PICTURES)


def table(
    items: Iterable[Item], columns: Sequence[tuple[str, Callable[[Item], str]]], empty: str
) -> Callable[[Console], None]:
    """Shows items as rows; ``empty`` says what to do where there are none."""

    def render(console: Console) -> None:
        from rich.text import Text

        shown = rows(items, columns, empty)
        console.print(shown, soft_wrap=isinstance(shown, Text))

    return render


def rows(
    items: Iterable[Item], columns: Sequence[tuple[str, Callable[[Item], str]]], empty: str
) -> RenderableType:
    """Items as rows, or ``empty`` where there are none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = [[printable(read(item)) for _, read in columns] for item in items]
    if not found:
        return Text(empty)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, _ in columns:
        grid.add_column(heading, no_wrap=heading == "ID")
    for row in found:
        grid.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return grid


def facts(pairs: Iterable[tuple[str, str | None]]) -> Callable[[Console], None]:
    """Shows names and values below each other, without those that have no value."""

    def render(console: Console) -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in pairs:
            if value:
                grid.add_row(name, Text(printable(value), style=_COLOURS.get(value, "")))
        console.print(grid)

    return render


def size(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def ago(moment: datetime | None) -> str:
    """How long ago a moment was."""
    if moment is None:
        return ""
    return f"{duration((datetime.now(UTC) - moment).total_seconds())} ago"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02} h"
    return f"{whole // 86400} d"


def figure(value: float | None, digits: int = 3) -> str:
    """A measured value; empty where it was not measured."""
    return "" if value is None else f"{value:,.{digits}f}"
