"""The report and the chart of a build say what the build says, and hold together."""

from __future__ import annotations

import json

from corpora import Run, Write, corpus_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiforge.raft.statistics import chart, markdown
from aiforge.schemas.datasets import StageYield, TeacherUse, YieldReport

CALM = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

COUNTS = {"train": 9, "validation": 1, "chunks": 4}


def test_the_report_of_a_build(write_snapshot: Write, run_build: Run) -> None:
    result = run_build(write_snapshot(corpus_files()))
    counts = {
        "train": result.train_count,
        "validation": result.validation_count,
        "chunks": result.chunk_count,
    }
    text = markdown("zoo", result.report, result.quality, counts, result.preview)
    assert f"{result.train_count:,} examples to train on" in text
    assert f"Quality: {result.quality:.3f}" in text
    for stage in result.report.stages:
        assert f"| {stage.stage} | {stage.entered:,} | {stage.left:,} |" in text
        for reason, count in stage.dropped.items():
            assert f"{count:,} × {reason}" in text
    for kind, count in result.report.kinds.items():
        assert f"| {kind} | {count:,} |" in text
        assert f"### {kind} (" in text
    for name, weight in result.report.quality_weights.items():
        assert f"| {name} | " in text
        assert f" | {weight:g} | " in text
    assert abs(sum(result.report.quality_weights.values()) - 1) < 1e-9


def test_the_chart_holds_its_data(write_snapshot: Write, run_build: Run) -> None:
    result = run_build(write_snapshot(corpus_files()))
    spec = chart("zoo", result.report)
    json.dumps(spec)
    assert spec["$schema"].endswith("vega-lite/v6.json")
    stages, kinds, components = (part["data"]["values"] for part in spec["vconcat"])
    for stage in result.report.stages:
        items = [row["items"] for row in stages if row["stage"] == stage.stage]
        assert items == [stage.left, stage.entered - stage.left]
    assert {row["kind"]: row["examples"] for row in kinds} == result.report.kinds
    assert all(0 <= row["value"] <= 1 for row in components)
    for part in spec["vconcat"]:
        for channel in part["encoding"].values():
            assert channel["field"] in part["data"]["values"][0]


def test_what_was_not_measured_and_what_a_teacher_cost_is_said() -> None:
    use = TeacherUse(
        model="m", chunks=3, requests=2, cached=1, prompt_tokens=1000, reply_tokens=50, pairs=5,
        dropped={"a quote is not in the chunk": 2}, cost=0.0125, budget_spent=True,
    )  # fmt: skip
    report = YieldReport(quality_components={"noLeakage": None}, teacher=use)
    text = markdown("n", report, None, COUNTS, [])
    assert "Quality: not measured" in text
    assert "| noLeakage | not measured |" in text
    for said in (
        "2 requests were paid",
        "1,000 tokens",
        "0.0125",
        "budget was spent",
        "2 × a quote",
    ):
        assert said in text


@CALM
@given(st.text(max_size=80), st.text(max_size=800), st.text(max_size=30))
def test_nothing_in_a_dataset_breaks_the_report(name: str, text: str, reason: str) -> None:
    report = YieldReport(stages=[StageYield(stage="s", entered=2, left=1, dropped={reason: 1})])
    row = {"instruction": text, "output": "a", "kind": "k", "path": name, "golden": True}
    lines = markdown(name, report, 0.5, COUNTS, [row]).split("\n")
    assert sum(line.startswith("| s |") for line in lines) == 1
    assert sum(line == "### " for line in lines) == 0
    fences = [line for line in lines if line.startswith("````") and set(line) == {"`"}]
    assert fences[0] == fences[-1]
