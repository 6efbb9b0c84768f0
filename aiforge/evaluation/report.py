"""A validation for people: a chart of the figures side by side, and a report in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiforge.schemas.artifacts import VEGA_LITE
from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.validations import LOWER_IS_BETTER, METRICS, GatePolicy, GateVerdict

TITLES: Mapping[str, str] = {
    "codebleu": "CodeBLEU",
    "humaneval": "HumanEval pass@1",
    "exam": "Exam from the repository, pass@1",
    "perplexity": "Perplexity of held-out answers",
    "bits_per_byte": "Bits per byte of held-out answers",
    "latency": "Time to first token, ms (p50)",
}

Figures = Mapping[str, ValidationMetrics]
"""Measurements by role: ``base``, ``candidate`` and, where there is one, ``active``."""


def chart(figures: Figures) -> dict[str, Any]:
    """A Vega-Lite specification with its data: a panel per metric, a bar per model."""
    values = list(_values(figures))
    return {
        "$schema": VEGA_LITE,
        "title": "Base, candidate and active model",
        "data": {"values": values},
        "facet": {"field": "metric", "type": "nominal", "title": None},
        "columns": 3,
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 160,
            "height": 140,
            "layer": [
                {
                    "mark": {"type": "bar", "tooltip": True},
                    "encoding": {
                        "x": {"field": "model", "type": "nominal", "sort": None, "title": None},
                        "y": {"field": "value", "type": "quantitative", "title": None},
                        "color": {"field": "model", "type": "nominal", "legend": None},
                    },
                },
                {
                    "mark": {"type": "rule"},
                    "encoding": {
                        "x": {"field": "model", "type": "nominal", "sort": None},
                        "y": {"field": "low", "type": "quantitative"},
                        "y2": {"field": "high"},
                    },
                },
            ],
        },
    }


def _values(figures: Figures) -> Iterator[dict[str, Any]]:
    for metric in METRICS:
        for role, measured in figures.items():
            value = getattr(measured, metric)
            if value is None or not math.isfinite(value):
                continue
            low, high = measured.intervals.get(metric, (value, value))
            yield {
                "metric": TITLES[metric],
                "model": role,
                "value": value,
                "low": low,
                "high": high,
                "samples": measured.samples.get(metric),
            }


def markdown(
    job_id: str,
    base_model: str,
    figures: Figures,
    policy: GatePolicy,
    verdicts: Sequence[GateVerdict],
    passed: bool,
) -> str:
    """The report."""
    return "\n".join(_lines(job_id, base_model, figures, policy, verdicts, passed)) + "\n"


def _lines(
    job_id: str,
    base_model: str,
    figures: Figures,
    policy: GatePolicy,
    verdicts: Sequence[GateVerdict],
    passed: bool,
) -> Iterator[str]:
    yield f"# Validation of {job_id}"
    yield ""
    verdict_word = "passed" if passed else "failed"
    yield f"Base model {base_model}, policy `{policy.name}`: **{verdict_word}**."
    yield ""
    yield from _figures(figures)
    yield "## Gate"
    yield ""
    yield "| metric | verdict | required | why |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        required = "yes" if verdict.required else "no"
        why = _cell(verdict.reason)
        yield f"| {TITLES[verdict.metric]} | {verdict.status} | {required} | {why} |"
    yield ""
    yield from _forgetting(figures)
    yield from _missing(figures["candidate"])


def _figures(figures: Figures) -> Iterator[str]:
    yield "| metric | " + " | ".join(figures) + " | samples |"
    yield "|---|" + "---:|" * (len(figures) + 1)
    for metric in METRICS:
        cells = [_figure(measured, metric) for measured in figures.values()]
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        samples = figures["candidate"].samples.get(metric, 0)
        yield f"| {TITLES[metric]} ({better} is better) | {' | '.join(cells)} | {samples:,} |"
    yield ""
    if "active" in figures:
        yield "The active model may have been trained on files that are held out here."
        yield ""
    if latency := figures["candidate"].details.get("latency"):
        yield from _latency("Latency", latency)
        if served := latency.get("served"):
            yield from _latency("As served", served)


def _latency(what: str, told: Mapping[str, Any]) -> Iterator[str]:
    if "engine" not in told:
        return
    first = told["firstTokenMs"]
    yield (
        f"{what}: {told['engine']} on {told['hardware']} in {told['dtype']}, first token after "
        f"{first['p50']:.1f} ms (p95 {first['p95']:.1f}), {told['tokensPerSecond']:.1f} tokens/s."
    )
    yield ""


def _figure(measured: ValidationMetrics, metric: str) -> str:
    value = getattr(measured, metric)
    if value is None:
        return "–"
    interval = dict(measured.intervals).get(metric)  # type: ignore[call-overload]
    shown = f"{value:.4g}"
    return shown if interval is None else f"{shown} [{interval[0]:.3g}, {interval[1]:.3g}]"


def _forgetting(figures: Figures) -> Iterator[str]:
    """What fine-tuning cost of what the base could do."""
    before = figures["base"].humaneval if "base" in figures else None
    after = figures["candidate"].humaneval
    if before is None or after is None:
        return
    change = after - before
    word = "lost" if change < 0 else "gained"
    yield (
        f"Forgetting: HumanEval {before:.3f} before fine-tuning, {after:.3f} after; "
        f"{word} {abs(change):.3f}."
    )
    yield ""


def _missing(measured: ValidationMetrics) -> Iterator[str]:
    if not measured.not_measured:
        return
    yield "## Not measured"
    yield ""
    for metric, reason in measured.not_measured.items():
        yield f"- {TITLES[metric]}: {_cell(reason)}"
    yield ""


def _cell(text: str) -> str:
    """A text that breaks neither a table nor the line."""
    return " ".join(text.replace("|", "\\|").split())
