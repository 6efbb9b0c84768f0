"""A machine of the cluster is lost in the middle of a training that runs on it and on another.

Run it by hand, it takes some minutes: ``pytest -m slow -s tests/clusters/test_node_loss.py``
prints what happened, with the seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machines import Machine, Machines
from prose import NOUNS, module

from aiforge.client import AIForge
from aiforge.schemas.jobs import JobMetricsHistory

PATIENCE = 600.0
RAFT = {"chunk_tokens": 120, "context_tokens": 512, "distractors": 1, "validation_fraction": 0.25}
TRAINING: dict[str, Any] = {
    "method": "lora",
    "epochs": 8,
    "learning_rate": 0.001,
    "rank": 8,
    "batch_size": 1,
    "gradient_accumulation": 1,
    "num_workers": 2,
    "zero_stage": 1,
    "max_seq_length": 512,
}
LOST_AT = 45
"""Five steps after a checkpoint, of which there is one every twenty."""
COMPARED_UNTIL = 80


def told(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def until(what: str, look: Callable[[], Any]) -> Any:
    """The first true result of a look."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {PATIENCE:g} seconds")


@dataclass(frozen=True)
class Scene:
    """What is there when a machine is lost: room on the other one, or a machine that joins, or
    permission to go on with one worker."""

    cpus: int = 1
    joins: bool = False
    shrinks: bool = False
    on_s3: bool = False


SCENES = {
    "remains": Scene(cpus=2),
    "joins": Scene(joins=True),
    "shrinks": Scene(shrinks=True),
    "s3": Scene(cpus=2, on_s3=True),
}


@pytest.fixture
def machines(scene: Scene, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    variables: dict[str, str] = {}
    if scene.on_s3:
        store = request.getfixturevalue("object_store")
        variables = {**store.environment, "AIFORGE_STORAGE_URI": store.uri}
    machines = Machines(tmp_path / "home", variables)
    yield machines
    machines.stop()
    assert machines.head.processes() == []


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_training_survives_the_loss_of_a_machine(
    scene: Scene,
    machines: Machines,
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
) -> None:
    machines.start_head(scene.cpus)
    told(f"the head answers at {machines.url}")
    worker = machines.start_worker(scene.cpus)
    told(f"a second machine joined; storage {machines.variables['AIFORGE_STORAGE_URI']}")
    training = TRAINING | ({"min_workers": 1} if scene.shrinks else {})
    with AIForge(machines.url) as forge:
        repository = make_repository({f"pkg_{name}.py": module(name) for name in NOUNS})
        source = forge.sources.create_local(str(repository)).wait()
        dataset = forge.datasets.generate(
            "small", [source.id], max_examples=120, base_model="forge-tiny", raft=RAFT
        ).wait()
        told(f"{dataset.id}: {dataset.train_count} + {dataset.validation_count} examples")
        job = forge.jobs.fine_tune("loss", dataset.id, "forge-tiny", **training)
        lost = _lose(machines, forge, job.id, worker, scene.joins)
        finished = forge.jobs.wait(job.id, timeout=PATIENCE)
        told(f"{job.id}: {finished.status} after {finished.metrics.current_step} steps")
        tell_log(forge, job.id)
        survivor = forge.jobs.metrics(job.id)
        again = forge.jobs.fine_tune("undisturbed", dataset.id, "forge-tiny", **training)
        whole = forge.jobs.wait(again.id, timeout=PATIENCE)
        undisturbed = forge.jobs.metrics(again.id)
    told(f"lost machine: {lost}")
    assert finished.status == whole.status == "completed"
    assert survivor.steps == undisturbed.steps
    found = differences(survivor, undisturbed)
    told(f"largest difference of a loss to an undisturbed job: {max(found):.1e}")
    told(f"until step {COMPARED_UNTIL}: {max(found[:COMPARED_UNTIL]):.1e}")
    assert max(found[:COMPARED_UNTIL]) < 1e-5
    # One worker adds the same gradients in another order, and training makes more of the rounding
    # with every step.
    assert max(found) < (1e-2 if scene.shrinks else 1e-5)


def differences(survivor: JobMetricsHistory, undisturbed: JobMetricsHistory) -> list[float]:
    """How far apart the losses of two jobs are, step by step."""
    pairs = zip(survivor.losses, undisturbed.losses, strict=True)
    return [abs(found - expected) for found, expected in pairs]


def _lose(
    machines: Machines, forge: AIForge, job_id: str, worker: Machine, joins: bool
) -> dict[str, float]:
    """Kill a machine in the middle; the seconds until a step was trained that was not before."""

    def step() -> int:
        job = forge.jobs.get(job_id)
        assert job.status in ("queued", "running"), job.error
        return int(job.metrics.current_step)

    until(f"step {LOST_AT}", lambda: step() >= LOST_AT)
    for machine in (machines.head, worker):
        trains = sum("RayTrainWorker" in title for title in machine.titles())
        told(f"{machine.name} runs {trains} of the two workers")
        assert trains == 1, machine.titles()
    begun = time.monotonic()
    worker.lose_power()
    told(f"{worker.name} lost its power at step {step()}")
    if joins:
        machines.start_worker(1)
        told(f"another machine joined after {time.monotonic() - begun:.1f} s")
    resumed = until("the resumed training", lambda: _resumed_after(forge, job_id))
    seconds = {"to workers that load the checkpoint": time.monotonic() - begun}
    last = max(forge.jobs.metrics(job_id).steps)
    told(f"resumed after step {resumed}; the last one of before was {last}")
    until("a new step", lambda: step() not in range(last + 1) and step() > last)
    seconds["to the first new step"] = time.monotonic() - begun
    return {name: round(value, 1) for name, value in seconds.items()} | {
        "steps repeated": last - resumed
    }


def _resumed_after(forge: AIForge, job_id: str) -> int | None:
    found = re.findall(r"continuing after step (\d+)", "\n".join(forge.jobs.logs(job_id).logs))
    return int(found[-1]) if found else None


def tell_log(forge: AIForge, job_id: str) -> None:
    for line in forge.jobs.logs(job_id).logs:
        if "⟦" not in line:
            print(f"    {line[:200]}")
