"""Charts and summaries of missions; Vega-Lite specifications with their data inside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from aiforge.schemas.artifacts import VEGA_LITE
from aiforge.schemas.drifts import Drift, LossEstimate
from aiforge.schemas.models import Model
from aiforge.services.watchers.base import Attachment


def chart(
    name: str, title: str, rows: Sequence[dict[str, Any]], **specification: Any
) -> Attachment:
    """A chart of some rows."""
    document = {
        "$schema": VEGA_LITE,
        "title": title,
        "width": 420,
        "data": {"values": list(rows)},
        **specification,
    }
    content = json.dumps(document, indent=1).encode()
    return Attachment("chart", name, content, "application/json")


def report(name: str, markdown: str) -> Attachment:
    """A Markdown text."""
    return Attachment("report", name, markdown.encode(), "text/markdown")


def log_excerpt(name: str, lines: Sequence[str]) -> Attachment:
    """The lines of a log that matter."""
    return Attachment("log", name, ("\n".join(lines) or "(empty)").encode(), "text/plain")


def of_drift(drift: Drift) -> list[Attachment]:
    """Perplexity on changed and on held-out code with 95 % intervals, and what changed."""
    measured = {"changed code": drift.changed, "held-out code": drift.held_out}
    bars = chart(
        "Perplexity on changed code",
        "What the active model makes of the code that changed",
        [_bar(name, loss) for name, loss in measured.items() if loss is not None],
        encoding={"x": {"field": "code", "type": "nominal", "axis": {"labelAngle": 0}}},
        layer=[
            {"mark": "bar", "encoding": {"y": {"field": "perplexity", "type": "quantitative"}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}},
            },
        ],
    )
    return [bars, report("What changed", _changed(drift))]


def _bar(name: str, loss: LossEstimate) -> dict[str, Any]:
    half = 1.96 * loss.standard_error
    return {
        "code": name,
        "perplexity": loss.perplexity,
        "low": math.exp(min(loss.mean - half, 700.0)),
        "high": math.exp(min(loss.mean + half, 700.0)),
        "examples": loss.examples,
    }


def _changed(drift: Drift) -> str:
    lines = [f"{drift.changed_chunks} new chunks, {drift.changed_share:.1%} of all.", ""]
    for heading, items in (
        ("Commits", [f"`{one.id[:12]}` {one.subject}" for one in drift.commits[:50]]),
        ("Changed files", [f"`{path}`" for path in drift.changed_files[:100]]),
        ("Removed files", [f"`{path}`" for path in drift.removed_files[:100]]),
    ):
        if items:
            lines += [f"## {heading}", "", *(f"- {item}" for item in items), ""]
    return "\n".join(lines)


def trend(models: Sequence[Model]) -> Attachment:
    """Perplexity of a project's versions, in the order of their making."""
    rows = [
        {"version": model.version, "model": model.name, "perplexity": model.metrics.perplexity}
        for model in sorted(models, key=lambda model: model.version)
        if model.metrics.perplexity is not None
    ]
    return chart(
        "Performance Trend",
        "Perplexity on held-out code, by version",
        rows,
        mark={"type": "line", "point": True},
        encoding={
            "x": {"field": "version", "type": "ordinal"},
            "y": {"field": "perplexity", "type": "quantitative", "scale": {"zero": False}},
        },
    )
