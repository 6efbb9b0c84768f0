"""Two workers under Ray Train with ZeRO: one is killed, the job is aborted, and taken up again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aiforge.errors import Cancelled, Failure
from aiforge.schemas.jobs import JobConfig
from aiforge.storage import Storage
from aiforge.training.plan import Silence, TrainPlan
from aiforge.training.session import LocalSession
from aiforge.training.worker import run

pytestmark = pytest.mark.cluster

KILLED_AT, ABORTED_AT, CHECKPOINT_EVERY = 14, 24, 4
SWITCH = "abort-switch"


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    """Let workers, which cannot import this file, have its classes by value."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Witness(Silence):
    """Writes down every step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def metrics(self, points: Any) -> None:
        with (self.directory / "points.jsonl").open("a") as file:
            for point in points:
                record = {"pid": os.getpid(), "step": point.step, "loss": point.loss}
                file.write(json.dumps(record) + "\n")

    def lives(self) -> list[dict[int, float]]:
        """Losses by step of each process that reported, in the order of their births."""
        lives: dict[int, dict[int, float]] = {}
        for line in (self.directory / "points.jsonl").read_text().splitlines():
            point = json.loads(line)
            lives.setdefault(point["pid"], {})[point["step"]] = point["loss"]
        return list(lives.values())


class Trouble(Witness):
    """Kills the reporting worker at one step, and has the job aborted at a later one."""

    def metrics(self, points: Any) -> None:
        super().metrics(points)
        if points[-1].step == KILLED_AT and self.once("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if points[-1].step == ABORTED_AT and self.once("aborted"):
            import ray

            ray.get_actor(SWITCH).press.remote()
            threading.Event().wait(60)  # until the abort ends this process

    def once(self, name: str) -> bool:
        marker = self.directory / name
        first = not marker.exists()
        marker.touch()
        return first


class Switch:
    """Aborts a controller from anywhere in the cluster."""

    def arm(self, controller: Any) -> None:
        self.controller = controller

    def press(self) -> None:
        self.controller.abort.remote()


@pytest.mark.timeout(900)
def test_neither_a_killed_worker_nor_an_abort_changes_a_loss(
    ray_cluster: None, make_plan: Any, tmp_path: Path
) -> None:
    import ray

    from aiforge.training.ray_trainer import fit

    switch = ray.remote(Switch).options(name=SWITCH, num_cpus=0).remote()
    plan: TrainPlan = make_plan(
        num_workers=2, zero_stage=1, batch_size=1, epochs=4, checkpoint_every=CHECKPOINT_EVERY
    )
    trouble = Trouble(tmp_path)
    with pytest.raises(Cancelled):
        fit(plan, trouble, lambda controller: ray.get(switch.arm.remote(controller)))
    result = fit(plan, trouble)

    killed, aborted, finished = trouble.lives()
    assert (max(killed), max(aborted), max(finished)) == (KILLED_AT, ABORTED_AT, result.steps)
    for before, after in ((killed, aborted), (aborted, finished)):
        repeated = before.keys() & after.keys()
        assert 0 < len(repeated) <= 2 * CHECKPOINT_EVERY, "it went on from a checkpoint"
        assert [before[step] for step in repeated] == [after[step] for step in repeated]
    assert "adapter_model.safetensors" in Storage(plan.storage_uri).names(result.adapter_path)
    assert fit(plan, Silence()) == result, "a finished job is not trained again"

    whole = uninterrupted(plan, tmp_path / "alone")
    found = killed | aborted | finished
    assert found == {step: pytest.approx(loss, rel=1e-4) for step, loss in whole.items()}


def uninterrupted(plan: TrainPlan, directory: Path) -> dict[int, float]:
    """The same plan in this one process, on the rows that are there already."""
    from aiforge.training.prepare import find_prepared, pack_key

    directory.mkdir()
    witness = Witness(directory)
    storage = Storage(plan.storage_uri)
    prepared = find_prepared(storage, pack_key(storage, plan))
    assert prepared is not None
    run(plan, prepared, LocalSession(directory / "checkpoint"), witness)
    return witness.lives()[0]


def test_what_fails_on_purpose_is_not_tried_again(
    ray_cluster: None, make_plan: Any, tmp_path: Path
) -> None:
    from aiforge.training.ray_trainer import fit

    plan = poisoned(make_plan(method="full", num_workers=2), tmp_path / "poisoned")
    controllers: list[Any] = []
    with pytest.raises(Failure) as caught:
        fit(plan, Silence(), controllers.append)
    assert caught.value.code == "training_diverged"
    assert len(controllers) == 1


@pytest.mark.parametrize("cpus", [1, 4, 8])
def test_ray_counts_as_many_elastic_workers_as_have_room(cpus: int) -> None:
    from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy

    from aiforge.training.ray_trainer import _scaling

    for most in range(2, 13):
        scaling = _scaling(JobConfig(num_workers=most, min_workers=1), {"CPU": float(cpus)})
        share = scaling.resources_per_worker["CPU"]
        assert most * share <= cpus
        for room in range(1, most + 1):
            reserved = 0.0
            for _ in range(room):
                reserved += share
            counted = ElasticScalingPolicy(scaling)._count_possible_workers(
                {"node": {"CPU": reserved}}
            )
            assert counted == room, (most, room)


def poisoned(plan: TrainPlan, directory: Path) -> TrainPlan:
    """The plan with a base model whose last norm is infinite."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(plan.base.location, directory)
    weights = load_file(directory / "model.safetensors")
    weights["model.norm.weight"].fill_(float("inf"))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return replace(plan, base=replace(plan.base, location=str(directory)))
