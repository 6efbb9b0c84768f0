"""The platform's Vega-Lite charts in a terminal: bars of what a person would rather look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 48
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_POSITIONAL = ("x", "y")


def bars(specification: dict[str, Any]) -> Callable[[Console], None]:
    """Shows a chart's quantitative field as a bar for each value of its other one.

    What is no such chart is shown as the rows of its data.

    Args:
        specification: Vega-Lite with ``data.values``; layers are looked through for fields.
    """

    def render(console: Console) -> None:
        from rich.markup import escape

        rows = specification.get("data", {}).get("values", [])
        label, value = _fields(specification)
        console.print(f"[bold]{escape(str(specification.get('title', 'Chart')))}[/]")
        if label is None or value is None:
            for row in rows:
                console.print("  " + ", ".join(f"{k} {v}" for k, v in row.items()), markup=False)
            return
        largest = max((float(row[value]) for row in rows if _is_number(row.get(value))), default=0)
        width = max((len(str(row.get(label))) for row in rows), default=0)
        for row in rows:
            number = row.get(value)
            drawn = _bar(float(number), largest) if _is_number(number) else ""
            shown = f"{number:,.4g}" if _is_number(number) else "–"
            console.print(
                f"  {escape(f'{row.get(label)!s:<{width}}')}  [cyan]{drawn:<{WIDTH}}[/] {shown}",
                highlight=False,
            )

    return render


def _fields(specification: dict[str, Any]) -> tuple[str | None, str | None]:
    """The field that names the bars, and the one that they show."""
    layers = [specification, *specification.get("layer", [])]
    label = value = None
    for layer in layers:
        for channel in _POSITIONAL:
            encoding = layer.get("encoding", {}).get(channel, {})
            if encoding.get("type") == "quantitative":
                value = value or encoding.get("field")
            elif encoding.get("type") in ("nominal", "ordinal"):
                label = label or encoding.get("field")
    return label, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bar(value: float, largest: float) -> str:
    eighths = round(WIDTH * 8 * max(0.0, value) / largest) if largest > 0 else 0
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
