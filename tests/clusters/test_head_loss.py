"""The head of a cluster is lost while a training runs, and started again beside the same Redis.

Run it by hand, it takes some minutes and needs ``redis-server``:
``pytest -m slow -s tests/clusters/test_head_loss.py``
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from machines import Machine, Machines, free_port
from test_node_loss import LOST_AT, NOUNS, PATIENCE, RAFT, TRAINING, module, told, until

from aiforge.client import AIForge


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and password of a Redis that keeps every write."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    port, password = free_port(), secrets.token_hex(16)
    process = subprocess.Popen(
        [
            *(server, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", password),
            *("--appendonly", "yes", "--dir", str(tmp_path)),
        ],
        stdout=subprocess.DEVNULL,
    )
    yield f"127.0.0.1:{port}", password
    process.terminate()
    process.wait(30)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1500)
def test_training_survives_the_loss_of_the_head(
    redis: tuple[str, str],
    tmp_path: Path,
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
) -> None:
    address, password = redis
    variables = {"RAY_REDIS_ADDRESS": address, "RAY_gcs_rpc_server_reconnect_timeout_s": "300"}
    machines = Machines(tmp_path / "home", variables)
    try:
        machines.start_head(2, f"--redis-password={password}")
        worker = machines.start_worker(2)
        told("a head and a second machine, Ray's tables in Redis")
        _lose_the_head(machines, worker, make_repository, password)
    finally:
        machines.stop()


def _lose_the_head(
    machines: Machines,
    worker: Machine,
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
    password: str,
) -> None:
    repository = make_repository({f"pkg_{name}.py": module(name) for name in NOUNS})
    with AIForge(machines.url) as forge:
        source = forge.sources.create_local(str(repository)).wait()
        dataset = forge.datasets.generate(
            "small", [source.id], max_examples=120, base_model="forge-tiny", raft=RAFT
        ).wait()
        job_id = forge.jobs.fine_tune("loss", dataset.id, "forge-tiny", **TRAINING).id

        def step() -> int:
            job = forge.jobs.get(job_id)
            assert job.status in ("queued", "running"), job.error
            return int(job.metrics.current_step)

        until(f"step {LOST_AT}", lambda: step() >= LOST_AT)
        before = step()
    raylet = next(each.pid for each in worker.processes() if each.name() == "raylet")
    begun = time.monotonic()
    machines.head.lose_power()
    told(f"the head lost its power at step {before}")

    machines.start_ray_alone(2, f"--redis-password={password}")
    told(f"Ray's head is back after {time.monotonic() - begun:.1f} s, by `ray start` alone")
    until("the API", lambda: _answers(machines))
    told(f"the API answers after {time.monotonic() - begun:.1f} s; nobody started the platform")
    with AIForge(machines.url) as forge:
        until("a new step", lambda: int(forge.jobs.get(job_id).metrics.current_step) > before + 5)
        told(f"training goes on after {time.monotonic() - begun:.1f} s")
        job = forge.jobs.wait(job_id, timeout=PATIENCE)
        told(f"{job.id}: {job.status} after {job.metrics.current_step} steps")
        for line in forge.jobs.logs(job_id).logs:
            if "⟦" not in line:
                print(f"    {line[:200]}")
        assert job.status == "completed"
        steps = forge.jobs.metrics(job_id).steps
        assert steps == list(range(1, job.metrics.current_step + 1))
    there = [each.pid for each in worker.processes() if each.name() == "raylet"]
    told(f"the other machine's raylet {'stayed' if raylet in there else 'ended'}")


def _answers(machines: Machines) -> bool:
    try:
        return httpx.get(f"{machines.url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
