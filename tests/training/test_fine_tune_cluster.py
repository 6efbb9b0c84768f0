"""Two workers under Ray Train with ZeRO stage 1, one of which is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiforge.errors import Failure
from aiforge.storage import Storage
from aiforge.training.plan import Silence, TrainPlan
from aiforge.training.worker import LocalSession, run

pytestmark = pytest.mark.cluster

KILLED_AFTER = 17


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    """Let workers, which cannot import this file, have its classes by value."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Assassin(Silence):
    """Writes down every step, and kills the process that reports step ``KILLED_AFTER``, once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def metrics(self, points: Any) -> None:
        with (self.directory / "points.jsonl").open("a") as file:
            for point in points:
                record = {"pid": os.getpid(), "step": point.step, "loss": point.loss}
                file.write(json.dumps(record) + "\n")
        if points[-1].step == KILLED_AFTER and not (self.directory / "killed").exists():
            (self.directory / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def read(self) -> list[dict[str, Any]]:
        lines = (self.directory / "points.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def test_a_killed_worker_costs_no_step_and_changes_no_loss(
    ray_cluster: None, make_plan: Any, tmp_path: Path
) -> None:
    from aiforge.training.ray_trainer import fit

    plan: TrainPlan = make_plan(num_workers=2, zero_stage=1, batch_size=1, epochs=2)
    assassin = Assassin(tmp_path)
    controllers: list[Any] = []
    result = fit(plan, assassin, controllers.append)
    points = assassin.read()
    first, second = dict.fromkeys(point["pid"] for point in points)
    before = {p["step"]: p["loss"] for p in points if p["pid"] == first}
    after = {p["step"]: p["loss"] for p in points if p["pid"] == second}
    repeated = before.keys() & after.keys()
    assert max(before) == KILLED_AFTER
    assert 0 < len(repeated) < KILLED_AFTER, "it went on from a checkpoint"
    assert all(before[step] == after[step] for step in repeated)
    assert max(after) == result.steps
    assert len(controllers) == 1
    assert fit(plan, Silence()) == result, "a finished job is not trained again"

    alone = {point["step"]: point["loss"] for point in uninterrupted(plan, tmp_path / "alone")}
    assert before | after == {step: pytest.approx(loss, rel=1e-4) for step, loss in alone.items()}
    assert "adapter_model.safetensors" in Storage(plan.storage_uri).names(result.adapter_path)


def uninterrupted(plan: TrainPlan, directory: Path) -> list[dict[str, Any]]:
    """The same plan in one process, on the rows that are there already."""
    from aiforge.training.prepare import find_prepared, pack_key

    directory.mkdir()
    (directory / "killed").touch()
    witness = Assassin(directory)
    storage = Storage(plan.storage_uri)
    prepared = find_prepared(storage, pack_key(storage, plan))
    assert prepared is not None
    run(plan, prepared, LocalSession(directory / "checkpoint"), witness)
    return witness.read()


def test_what_fails_on_purpose_is_not_tried_again(ray_cluster: None, make_plan: Any) -> None:
    from aiforge.training.ray_trainer import fit

    plan = make_plan(learning_rate=1.0, method="full", epochs=3)
    with tempfile.TemporaryDirectory() as directory:
        poison(plan, Path(directory))
        with pytest.raises(Failure) as caught:
            fit(plan, Silence())
    assert caught.value.code == "training_diverged"


def poison(plan: TrainPlan, directory: Path) -> None:
    """Give the plan a base model whose output layer is infinite."""
    import shutil
    from dataclasses import replace

    from safetensors.torch import load_file, save_file

    shutil.copytree(plan.base.location, directory, dirs_exist_ok=True)
    weights = load_file(directory / "model.safetensors")
    weights["model.norm.weight"].fill_(float("inf"))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    object.__setattr__(plan, "base", replace(plan.base, location=str(directory)))
