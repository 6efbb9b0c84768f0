"""The head of a cluster is lost in the middle of a training, and Ray's tables lie in Redis.

Run it by hand, it takes some minutes: ``pytest -m slow -s tests/clusters/test_head_loss.py``
prints what happened, with the seconds.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from machines import Machine, Machines, free_port
from prose import NOUNS, module
from test_node_loss import (
    LOST_AT,
    PATIENCE,
    RAFT,
    TRAINING,
    differences,
    tell_log,
    told,
    until,
)

from aiforge.client import AIForge
from aiforge.errors import AIForgeError

PASSWORD = "held-beside-the-head"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server on this machine, as Ray's processes find it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path),
               "--requirepass", PASSWORD, "--appendonly", "yes"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        until("Redis", lambda: _answers(port))
        yield {"RAY_REDIS_ADDRESS": f"127.0.0.1:{port}", "RAY_REDIS_PASSWORD": PASSWORD}
        server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def machines(redis: dict[str, str], tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(tmp_path / "home", redis)
    yield machines
    machines.stop()
    assert machines.head.processes() == []


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1500)
def test_training_survives_the_loss_of_the_head(
    machines: Machines, make_repository: Callable[[Mapping[str, str | bytes]], Path]
) -> None:
    machines.start_head(1, f"--redis-password={PASSWORD}")
    worker = machines.start_worker(1)
    told(f"the head answers at {machines.url}, and a second machine joined")
    raylet = raylet_of(worker)
    training = TRAINING | {"epochs": 10}
    with AIForge(machines.url) as forge:
        repository = make_repository({f"pkg_{name}.py": module(name) for name in NOUNS})
        source = forge.sources.create_local(str(repository)).wait()
        dataset = forge.datasets.generate(
            "small", [source.id], max_examples=120, base_model="forge-tiny", raft=RAFT
        ).wait()
        job = forge.jobs.fine_tune("head", dataset.id, "forge-tiny", **training)
        until("the step", lambda: forge.jobs.get(job.id).metrics.current_step >= LOST_AT)
        steps = forge.jobs.get(job.id).metrics.current_step

    begun = time.monotonic()
    machines.head.lose_power()
    told(f"the head lost its power at step {steps} or later")
    # The note of a head that runs here: its successor is another machine.
    (machines.directory / "r" / "ray_current_cluster").unlink()
    machines.start_head(1, f"--redis-password={PASSWORD}")
    told(f"`head.sh` came back after {time.monotonic() - begun:.1f} s")
    with AIForge(machines.url) as forge:
        until("the API", lambda: _knows(forge, job.id))
        told(f"the API knows the job after {time.monotonic() - begun:.1f} s")
        until("a new step", lambda: forge.jobs.get(job.id).metrics.current_step > steps)
        told(f"a new step after {time.monotonic() - begun:.1f} s")
        finished = forge.jobs.wait(job.id, timeout=PATIENCE)
        told(f"{finished.status} after {finished.metrics.current_step} steps")
        tell_log(forge, job.id)
        whole = forge.jobs.fine_tune("undisturbed", dataset.id, "forge-tiny", **training)
        assert forge.jobs.wait(whole.id, timeout=PATIENCE).status == "completed"
        survivor, undisturbed = forge.jobs.metrics(job.id), forge.jobs.metrics(whole.id)
    assert finished.status == "completed"
    assert survivor.steps == undisturbed.steps
    largest = max(differences(survivor, undisturbed))
    told(f"largest difference of a loss to an undisturbed job: {largest:.1e}")
    assert largest < 1e-4
    # The other machine was not started again: its raylet found the new head.
    assert raylet_of(worker) == raylet


def raylet_of(machine: Machine) -> int:
    """Process id of a machine's raylet."""
    (found,) = [one.pid for one in machine.processes() if one.name() == "raylet"]
    return found


def _knows(forge: AIForge, job_id: str) -> bool:
    try:
        return forge.jobs.get(job_id).id == job_id
    except AIForgeError:
        return False
