"""What a build did, for people: a report in Markdown and a chart in Vega-Lite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiforge.schemas.artifacts import VEGA_LITE
from aiforge.schemas.datasets import StageYield, TeacherUse, YieldReport

_SHOWN = 600
_MEANING = {
    "groundedness": "quotes that stand word for word in the golden chunk",
    "nonTriviality": "answers that their question does not say already",
    "uniqueness": "examples that are no near-duplicate of an earlier one",
    "validity": "rows that are complete and have the form of an answer",
    "fit": "examples that fit into the context",
    "hardness": "BM25 score of the best distractor over that of the golden chunk",
    "noLeakage": "validation examples without a near-duplicate in training",
}


def markdown(
    name: str,
    report: YieldReport,
    quality: float | None,
    counts: Mapping[str, int],
    preview: Sequence[Mapping[str, Any]],
) -> str:
    """The report of a build.

    Args:
        counts: By what they count: ``train``, ``validation``, ``chunks``.
        preview: Examples in the dataset's format.
    """
    parts = [
        f"# {_plain(name)}",
        f"{counts['train']:,} examples to train on and {counts['validation']:,} held out, from "
        f"{counts['chunks']:,} chunks. Quality: {_figure(quality)}.",
        "## Yield",
        _table(
            ("stage", "in", "left", "not used, and why"),
            [
                (s.stage, f"{s.entered:,}", f"{s.left:,}", _reasons(s.dropped))
                for s in report.stages
            ],
        ),
    ]
    if report.cleaned:
        parts.append(f"Taken out of the files' texts: {_reasons(report.cleaned)}.")
    parts += ["## Kinds of questions", _table(("kind", "examples"), _counted(report.kinds))]
    parts += ["## Quality", _quality(report)]
    if report.teacher is not None:
        parts += ["## Teacher", _teacher(report.teacher)]
    parts += ["## Examples", *(_example(row) for row in _one_of_each_kind(preview))]
    return "\n\n".join(part for part in parts if part) + "\n"


def chart(name: str, report: YieldReport) -> dict[str, Any]:
    """A Vega-Lite specification: what each stage took in and left, kinds, and quality."""
    stages = [
        {"stage": stage.stage, "what": what, "items": count}
        for stage in report.stages
        for what, count in (("left", stage.left), ("not used", stage.entered - stage.left))
    ]
    kinds = [{"kind": kind, "examples": count} for kind, count in report.kinds.items()]
    components = [
        {"component": component, "value": value}
        for component, value in report.quality_components.items()
        if value is not None
    ]
    return {
        "$schema": VEGA_LITE,
        "title": f"How {name} was made",
        "vconcat": [
            _bars("Yield by stage", stages, "stage", "items", [s.stage for s in report.stages])
            | {"encoding": _yield_encoding([stage.stage for stage in report.stages])},
            _bars("Examples by kind", kinds, "kind", "examples", "-x"),
            _bars("Components of the quality", components, "component", "value", "-x"),
        ],
    }


def _bars(
    title: str, values: list[dict[str, Any]], name: str, value: str, order: Any
) -> dict[str, Any]:
    return {
        "title": title,
        "data": {"values": values},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "y": {"field": name, "type": "nominal", "sort": order, "title": None},
            "x": {"field": value, "type": "quantitative"},
        },
    }


def _yield_encoding(order: list[str]) -> dict[str, Any]:
    return {
        "y": {"field": "stage", "type": "nominal", "sort": order, "title": None},
        "x": {
            "field": "items",
            "type": "quantitative",
            "stack": "normalize",
            "title": "share of what came in",
            "axis": {"format": "%"},
        },
        "color": {
            "field": "what",
            "type": "nominal",
            "title": None,
            "scale": {"domain": ["left", "not used"], "range": ["#4c78a8", "#d3d3d3"]},
        },
    }


def _quality(report: YieldReport) -> str:
    rows = [
        (
            name,
            _figure(value),
            f"{report.quality_weights[name]:g}" if name in report.quality_weights else "",
            f"{report.quality_samples.get(name, 0):,}",
            _MEANING.get(name, ""),
        )
        for name, value in report.quality_components.items()
    ]
    return _table(("component", "value", "weight", "measured on", "share of"), rows)


def _teacher(use: TeacherUse) -> str:
    tokens = f"{use.prompt_tokens:,} tokens of prompts and {use.reply_tokens:,} of replies"
    lines = [
        f"{_plain(use.model)} was asked about {use.chunks:,} chunks: {use.requests:,} requests "
        f"were paid for ({tokens}{', estimated' if use.tokens_estimated else ''}), "
        f"{use.cached:,} replies were known already.",
        f"{use.pairs:,} questions hold; {_reasons(use.dropped) or 'none was dropped'}.",
    ]
    if use.cost is not None:
        lines.append(f"Cost by the prices given: {use.cost:.4f}.")
    if use.budget_spent:
        lines.append("The budget was spent before all chunks were asked about.")
    return "\n".join(lines)


def _one_of_each_kind(preview: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    firsts: dict[str, Mapping[str, Any]] = {}
    for row in preview:
        firsts.setdefault(str(row.get("kind")), row)
    return list(firsts.values())


def _example(row: Mapping[str, Any]) -> str:
    place = f"{row.get('path')}, lines {row.get('startLine')} to {row.get('endLine')}"
    shown = {key: row[key] for key in row if key not in _PROVENANCE}
    texts = [f"**{key}**\n\n{_fenced(_text(value))}" for key, value in shown.items() if value]
    return "\n\n".join([f"### {row.get('kind')} ({_plain(place)})", *texts])


_PROVENANCE = ("kind", "path", "startLine", "endLine", "golden")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ": ".join(str(part) for part in value.values())
    return str(value)


def _fenced(text: str) -> str:
    """A text that nothing in it can break out of."""
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]} …"
    fence = "````"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _counted(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{n:,}") for name, n in sorted(counts.items(), key=lambda item: -item[1])]


def _reasons(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} × {reason}" for reason, count in dropped.items())


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _plain(text: str) -> str:
    """A text that is neither table nor markup."""
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat.replace("<", "&lt;") if flat != "---" else flat


def summary(stages: Sequence[StageYield]) -> list[str]:
    """The account of the stages, a line each."""
    return [
        f"{stage.stage}: {stage.entered} in, {stage.left} left"
        + (f" ({_reasons(stage.dropped)})" if stage.dropped else "")
        for stage in stages
    ]
