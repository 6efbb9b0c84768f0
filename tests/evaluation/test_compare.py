"""Base, candidate and active model on the same material, in one plain process."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparisons import MEASURES, ROWS, prepare
from test_exam import FILES

from aiforge.errors import Cancelled
from aiforge.evaluation import exam, sandbox_probe, suite
from aiforge.evaluation.compare import Comparison
from aiforge.evaluation.exam_mining import mine
from aiforge.evaluation.suite import code_of
from aiforge.modeling.generate import Generator
from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.validations import ExamSize
from aiforge.storage import Storage


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts were completed, by batch; latency's requests left out."""
    counts: list[int] = []
    complete = Generator.complete

    def counted(self: Generator, prompts: Any, sampling: Any, on_token: Any = None) -> Any:
        if on_token is None:
            counts.append(len(prompts))
        return complete(self, prompts, sampling, on_token)

    monkeypatch.setattr(Generator, "complete", counted)
    return counts


def run(comparison: Comparison) -> dict[str, ValidationMetrics]:
    return comparison.run(lambda share, stage: None).metrics


def quality(measured: ValidationMetrics) -> dict[str, Any]:
    """The figures without those of the clock."""
    values = measured.model_dump(exclude={"latency", "details"})
    return values | {"codebleu details": measured.details.get("codebleu")}


def test_every_model_is_measured_on_the_same(tmp_path: Path) -> None:
    steps: list[tuple[float, str]] = []

    figures = (
        prepare(tmp_path, "job-1", "job-2")
        .run(lambda share, stage: steps.append((share, stage)))
        .metrics
    )

    assert list(figures) == ["base", "candidate", "active"]
    for measured in figures.values():
        assert measured.not_measured == {"exam": "The policy measures none."}
        assert math.isfinite(measured.perplexity or math.nan)
        assert 0 <= (measured.codebleu or 0) <= 1
        assert measured.humaneval == 0
        assert (measured.latency or 0) > 0
        assert measured.samples["codebleu"] == 4
        assert measured.samples["humaneval"] == 6
        assert measured.samples["latency"] == 3
        assert measured.details["humaneval"]["samplesPerProblem"] == 2
        assert sum(measured.details["humaneval"]["outcomes"].values()) == 12
        assert measured.details["latency"]["engine"] == "transformers"
        assert measured.details["latency"]["dtype"]
        assert measured.details["latency"]["firstTokenMs"]["p95"] > 0
        assert measured.details["perplexity"]["rows"] == len(ROWS)
    scored = {measured.scored_tokens for measured in figures.values()}
    assert len(scored) == 1
    perplexities = {measured.perplexity for measured in figures.values()}
    assert len(perplexities) == 3
    shares = [share for share, _ in steps]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert "measuring humaneval of active" in {stage for _, stage in steps}


def test_what_was_generated_is_not_generated_again(tmp_path: Path, asked: list[int]) -> None:
    comparison = prepare(tmp_path, "job-1")

    first = run(comparison)
    number = sum(asked)
    second = run(comparison)

    assert number == 2 * (4 + 12)
    assert sum(asked) == number
    assert quality(first["candidate"]) == quality(second["candidate"])


def test_a_validation_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiforge.modeling.generate.BATCH_TOKENS", 512)
    comparison = prepare(tmp_path, "job-1")
    whole = run(replace(comparison, storage_uri=prepare(tmp_path / "other", "job-1").storage_uri))
    total = sum(asked)
    asked.clear()

    def stop(share: float, stage: str) -> None:
        if len(asked) == 4:
            raise Cancelled("Cancelled on request.")

    with pytest.raises(Cancelled):
        comparison.run(stop)
    before = sum(asked)
    resumed = run(comparison)

    assert 0 < before < total
    assert sum(asked) == total
    assert quality(resumed["candidate"]) == quality(whole["candidate"])


def test_a_killed_validation_has_lost_nothing_that_was_kept(
    tmp_path: Path, asked: list[int]
) -> None:
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, str(tests / "evaluation" / "comparisons.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{tests.parent}:{tests}", "PATH": "/usr/bin:/bin"},
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "kept\n" in process.stdout
        process.send_signal(signal.SIGKILL)
    kept = 4 + 12

    figures = run(prepare(tmp_path, "job-1"))

    assert sum(asked) == 2 * (4 + 12) - kept
    assert figures["base"].samples["humaneval"] == 6


def test_an_exam_is_sat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = prepare(tmp_path, "job-1")
    storage = Storage(comparison.storage_uri)
    items = mine(sandbox_probe.open_sandbox(), FILES, "snapshots/s", 3, seconds=60).items
    storage.write_bytes(comparison.exam_path, exam.dump(items))
    monkeypatch.setattr(exam, "read_files", lambda storage, snapshot: FILES)
    # The model knows the first body by heart.
    bodies = {item.id: item.body if item is items[0] else "    pass\n" for item in items}
    monkeypatch.setattr(
        suite.Suite, "_ask", lambda self, name, tasks, sampling: [bodies[t.id] for t in tasks]
    )
    measures = MEASURES.model_copy(update={"exam": ExamSize(items=10)})
    for part in ("codebleu", "humaneval", "latency"):
        none = {"examples": 0, "problems": 0, "requests": 0}
        setattr(measures, part, getattr(measures, part).model_copy(update=none))

    figures = run(replace(comparison, measures=measures))

    assert figures["candidate"].exam == pytest.approx(1 / 3)
    assert figures["candidate"].samples["exam"] == 3


def test_without_a_sandbox_the_other_figures_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_probe, "_probe", lambda: (None, ()))

    measured = run(prepare(tmp_path, "job-1"))["candidate"]

    assert measured.humaneval is None
    assert "no generated code is run" in measured.not_measured["humaneval"]
    assert measured.codebleu is not None


def test_without_held_out_rows_perplexity_says_so(tmp_path: Path) -> None:
    comparison = replace(prepare(tmp_path), rows_path="datasets/none/validation")

    measured = run(comparison)["base"]

    assert measured.perplexity is None
    assert measured.not_measured["bits_per_byte"] == "The dataset holds nothing out."
    assert "holds code" in measured.not_measured["codebleu"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x\n```python\na = 1\n```\ny", ("python", "a = 1")),
        ("```js\nlet a\n```", ("javascript", "let a")),
        ("```sh\nls\n```\n```c++\nint a;\n```", ("cpp", "int a;")),
        ("```python\nunfinished", ("python", "unfinished")),
        ("no code", None),
        ("```python\n\n```", None),
    ],
)
def test_code_is_found_in_an_answer(text: str, found: tuple[str, str] | None) -> None:
    assert code_of(text) == found
