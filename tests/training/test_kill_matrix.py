"""A worker is killed in the middle of a step; the job is resumed, there or on another layout.

python -m pytest -m slow -s tests/training/test_kill_matrix.py    (the whole matrix, as a table)
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fitting import evaluation_of, prepare
from processes import Layout, Victim, launch

from aiforge.storage import Storage, train_result_file
from aiforge.training.plan import TrainPlan, TrainResult
from aiforge.training.prepare import Prepared

CHECKPOINT_EVERY = 3


@pytest.fixture
def job(make_plan: Any) -> tuple[TrainPlan, Prepared]:
    plan: TrainPlan = make_plan(
        num_workers=2, batch_size=1, epochs=2, checkpoint_every=CHECKPOINT_EVERY
    )
    return plan, prepare(plan)


def largest(found: dict[int, float], expected: dict[int, float]) -> float:
    assert found.keys() == expected.keys()
    return max(abs(found[step] - expected[step]) for step in expected)


def test_a_killed_worker_changes_no_loss(job: tuple[TrainPlan, Prepared], tmp_path: Path) -> None:
    two = Layout(2, 2)
    whole = launch(*job, tmp_path / "whole", two)
    before = launch(*job, tmp_path / "killed", two, Victim(1, 8))
    assert max(before) == 7, "the step that the victim did not finish was reported by nobody"
    shutil.copytree(tmp_path / "killed", tmp_path / "moved")
    assert launch(*job, tmp_path / "killed", two) == whole
    assert largest(launch(*job, tmp_path / "moved", Layout(1, 0)), whole) < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", [Layout(2, 0), Layout(2, 2), Layout(2, 3)], ids=str)
def test_every_layout_publishes_the_weights_that_evaluated_best(
    layout: Layout, make_plan: Any, tmp_path: Path
) -> None:
    options = {"learning_rate": 0.3, "epochs": 10, "eval_every": 1, "early_stopping": 2}
    plan = make_plan(num_workers=2, batch_size=1, **options)
    launch(plan, prepare(plan), tmp_path / "run", layout)
    storage = Storage(plan.storage_uri)
    result = TrainResult(**storage.read_json(train_result_file(plan.job_id)))
    assert result.stopped_early
    published = evaluation_of(plan, result.adapter_path)
    assert published == pytest.approx(result.eval_loss, rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_matrix(job: tuple[TrainPlan, Prepared], tmp_path: Path) -> None:
    layouts = [Layout(world, stage) for world in (1, 2) for stage in (0, 2, 3)]
    rows = []
    print(f"\nLargest difference of a loss; a checkpoint every {CHECKPOINT_EVERY} steps")
    print("| killed in step | on | resumed there | resumed on | there |\n|---|---|---|---|---|")
    for number, layout in enumerate(layouts):
        other = layouts[(number + 4) % len(layouts)]
        plan = replace(job[0], job_id=f"job-{number}")
        whole = launch(plan, job[1], tmp_path / f"{number}-whole", layout)
        for step in (1, 5, max(whole)):
            directory = tmp_path / f"{number}-{step}"
            launch(plan, job[1], directory, layout, Victim(layout.world - 1, step))
            moved = tmp_path / f"{number}-{step}-moved"
            shutil.copytree(directory, moved)
            same = largest(launch(plan, job[1], directory, layout), whole)
            elsewhere = largest(launch(plan, job[1], moved, other), whole)
            rows.append((same, elsewhere))
            cells = (f"{step} of {max(whole)}", layout, f"{same:.1e}", other, f"{elsewhere:.1e}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    assert {same for same, _ in rows} == {0.0}
    assert max(elsewhere for _, elsewhere in rows) < 1e-4
