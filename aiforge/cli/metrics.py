"""``aiforge metrics up | down | show``: Prometheus beside the platform, and what it knows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.installation import Home, installed, local_settings
from aiforge.cli.output import duration, facts, size
from aiforge.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from rich.console import Console

    from aiforge.runtime.dashboards import Dashboard, Panel

app = group("Prometheus and what the dashboards show.", "aiforge metrics show")

MINUTES = 15.0
POINTS = 24
_BLOCKS = "▁▂▃▄▅▆▇█"


@command(app, "up", examples="aiforge metrics up --prometheus-port 9091")
def up(
    cli: Cli,
    home: Home = None,
    port: Annotated[
        int, typer.Option("--prometheus-port", help="Loopback port of Prometheus.")
    ] = 9090,
) -> None:
    """Start Prometheus on this machine; it reads the platform that runs from this home."""
    prometheus = installed("aiforge.runtime.prometheus")

    found = prometheus.start(local_settings(home, None), port)
    cli.show(found, facts([("prometheus", found.url), ("show", "aiforge metrics show")]))


@command(app, "down", examples="aiforge metrics down")
def down(cli: Cli, home: Home = None) -> None:
    """Stop Prometheus; what it stored stays."""
    prometheus = installed("aiforge.runtime.prometheus")

    stopped = prometheus.stop(local_settings(home, None))
    text = "Stopped." if stopped else "Prometheus was not running."
    cli.show({"stopped": stopped}, lambda console: console.print(text, markup=False))


@command(app, "show", examples="aiforge metrics show\naiforge metrics show training")
def show(
    cli: Cli,
    dashboard: Annotated[
        str | None, typer.Argument(help="platform, training, datasets or models; all if absent.")
    ] = None,
    home: Home = None,
) -> None:
    """Print what the dashboards show: each query's values now and over a quarter of an hour."""
    prometheus = installed("aiforge.runtime.prometheus")
    from aiforge.runtime.dashboards import DASHBOARDS

    chosen = [one for one in DASHBOARDS if dashboard in (None, one.name)]
    if not chosen:
        names = ", ".join(one.name for one in DASHBOARDS)
        raise NotFound(f"There is no dashboard {dashboard!r}; choose from {names}.")
    running = prometheus.running(local_settings(home, None))
    if running is None:
        raise Unavailable(
            "Prometheus is not running; start it with `aiforge metrics up`.",
            code="prometheus_away",
        )
    read = [(one, [_read(running.url, panel) for panel in one.panels]) for one in chosen]
    body = {one.name: [asdict(picture) for picture in pictures] for one, pictures in read}

    def render(console: Console) -> None:
        for one, pictures in read:
            _draw(console, one, pictures)

    cli.show(body, render)


@dataclass(frozen=True)
class Picture:
    """A panel's title, its query, and its series: names, values now, curves."""

    title: str
    query: str
    unit: str
    series: list[tuple[str, float, list[float]]]


def _read(url: str, panel: Panel) -> Picture:
    prometheus = installed("aiforge.runtime.prometheus")

    now = prometheus.query(url, panel.query)
    curves = prometheus.curves(url, panel.query, MINUTES, POINTS)
    by_labels = {tuple(sorted(labels.items())): curve for labels, curve in curves}
    series = [
        (_legend(panel, labels), value, by_labels.get(tuple(sorted(labels.items())), []))
        for labels, value in now
    ]
    return Picture(panel.title, panel.query, panel.unit, sorted(series))


def _legend(panel: Panel, labels: dict[str, str]) -> str:
    name = panel.legend
    for label, value in labels.items():
        name = name.replace("{{" + label + "}}", value)
    return name


def _draw(console: Console, dashboard: Dashboard, pictures: list[Picture]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=dashboard.title, title_justify="left", box=None, pad_edge=False)
    for heading in ("panel", "series", "now", f"last {MINUTES:g} min"):
        grid.add_column(
            heading, header_style="dim", justify="right" if heading == "now" else "left"
        )
    for picture in pictures:
        rows = picture.series or [("no data", float("nan"), [])]
        for number, (name, value, curve) in enumerate(rows):
            title = "" if number else picture.title
            grid.add_row(title, name, _figure(value, picture.unit), Text(_spark(curve), "cyan"))
    console.print(grid)
    console.print()


def _figure(value: float, unit: str) -> str:
    if value != value:
        return "–"
    if unit == "bytes":
        return size(int(value))
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        if value >= 10:
            return duration(value)
        return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
    return f"{value:,.4g}" + ("/s" if unit == "reqps" else "")


def _spark(values: list[float]) -> str:
    numbers = [value for value in values if value == value]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in numbers)
