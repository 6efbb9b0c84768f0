"""What all benchmarks share: arguments, timing, the description of the machine, the report.

A benchmark is a script that measures figures, where there is one beside a peer that does the same
work in the same run, prints a table and writes JSON:

    {"name": …, "device": …, "rows": [{"figure", "value", "unit", "peer", "peerValue", "ratio",
     "goal", "ok"}]}

``ratio`` says how many times better than the peer's the figure is, whichever direction is the
better one. ``ok`` is null where there is no goal.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Comparison = Literal["<=", ">="]


@dataclass(frozen=True)
class Goal:
    """A bound on a figure's value, or on its ratio to the peer's."""

    comparison: Comparison
    bound: float
    of: Literal["value", "ratio"] = "value"

    def holds(self, value: float) -> bool:
        """Whether a measured value or ratio reaches the goal."""
        return value <= self.bound if self.comparison == "<=" else value >= self.bound

    def __str__(self) -> str:
        sign = {"<=": "≤", ">=": "≥"}[self.comparison]
        return f"{sign} {self.bound:g}" + (" × peer" if self.of == "ratio" else "")


@dataclass
class Report:
    """The figures of one benchmark in the order in which they were measured."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        figure: str,
        value: float,
        unit: str,
        *,
        peer: str | None = None,
        peer_value: float | None = None,
        better: Literal["lower", "higher"] = "lower",
        goal: Goal | None = None,
    ) -> None:
        """Record one figure.

        Args:
            figure: What was measured.
            value: Our figure.
            unit: Of both figures.
            peer: Who else did the same work in this run.
            peer_value: The peer's figure.
            better: Which direction is the better one; gives the ratio its sense.
            goal: What the figure should reach.
        """
        ratio = None
        if peer_value is not None:
            above, below = (peer_value, value) if better == "lower" else (value, peer_value)
            ratio = above / below if below else None
        judged = ratio if goal and goal.of == "ratio" else value
        self.rows.append(
            {
                "figure": figure,
                "value": value,
                "unit": unit,
                "peer": peer,
                "peerValue": peer_value,
                "ratio": ratio,
                "goal": str(goal) if goal else None,
                "ok": goal.holds(judged) if goal and judged is not None else None,
            }
        )

    def save(self, path: Path | None) -> None:
        """Write the figures so far, where a path is given."""
        if path is not None:
            described = {"name": self.name, "device": device_name(), "rows": self.rows}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    def finish(self, path: Path | None) -> None:
        """Print the table and, where a path is given, write the JSON."""
        self.save(path)
        table = Table(title=f"{self.name} on {device_name()}", title_justify="left")
        for column in ("figure", "value", "peer", "peer's value", "ratio", "goal", ""):
            numeric = column in ("value", "peer's value", "ratio", "goal")
            table.add_column(column, justify="right" if numeric else "left")
        for row in self.rows:
            verdict = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[row["ok"]]
            table.add_row(
                row["figure"],
                f"{_short(row['value'])} {row['unit']}".strip(),
                row["peer"] or "",
                "" if row["peerValue"] is None else _short(row["peerValue"]),
                "" if row["ratio"] is None else f"{_short(row['ratio'])} ×",
                row["goal"] or "",
                verdict,
            )
        Console().print(table)


def arguments(description: str | None, **paths: str) -> argparse.Namespace:
    """The arguments that every benchmark takes: ``--quick`` and ``--json PATH``.

    Args:
        description: Its first line describes the benchmark.
        paths: Further options that take a path, with their help.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures here")
    for name, text in paths.items():
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=text)
    return parser.parse_args()


def median_seconds(
    work: Callable[..., object],
    *,
    repeats: int,
    prepare: Callable[[], Sequence[Any]] = tuple,
    warmup: int = 0,
) -> float:
    """Median wall time of some repetitions.

    Args:
        work: What is timed; called with what ``prepare`` returned.
        repeats: Timed calls.
        prepare: Called before each repetition, outside the clock.
        warmup: Calls before the timed ones.
    """
    times = []
    for index in range(warmup + repeats):
        given = prepare()
        start = time.perf_counter()
        work(*given)
        if index >= warmup:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def device_name() -> str:
    """The accelerators, else the processor, with the number of cores that may be used."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, torch {torch.__version__}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _short(number: float) -> str:
    if number == 0 or 0.01 <= abs(number) < 100_000:
        return f"{number:,.3f}".rstrip("0").rstrip(".") if abs(number) < 100 else f"{number:,.0f}"
    return f"{number:.2e}"
