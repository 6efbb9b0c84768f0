"""Recipes as Ray jobs, as a person submits them.

Run it by hand, it takes some minutes: ``pytest -m slow -s tests/clusters/test_submitted.py``
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machines

from aiforge import logs
from aiforge.client import AIForge
from aiforge.settings import config_dir

CHECKOUT = Path(__file__).parents[2]
RECIPES = sorted(path.stem for path in config_dir().glob("train/*.yaml"))


def told(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    machines = Machines(tmp_path_factory.mktemp("submitted") / "home")
    machines.start_head(2)
    yield machines
    machines.stop()


def submit(machines: Machines, name: str, *options: str) -> tuple[int, str, float]:
    """Exit status, output and seconds of ``ray job submit``."""
    command = ("ray", "job", "submit", *options, "--working-dir", ".", "--")
    command += ("python", "-m", "aiforge.batch", f"configs/train/{name}.yaml")
    told(f"$ {' '.join(command)}")
    begun = time.monotonic()
    done = machines.run(
        *command,
        cwd=CHECKOUT,
        RAY_API_SERVER_ADDRESS=f"http://127.0.0.1:{machines.dashboard}",
        RAY_AUTH_MODE="token",
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
def test_a_recipe_for_gpus_says_at_once_that_there_are_none(machines: Machines, name: str) -> None:
    status, output, seconds = submit(machines, name)
    found = re.search(r"error: .*", output)
    assert found is not None, output
    reason = found[0]
    told(f"exit status {status} after {seconds:.1f} s: {reason}")
    assert status != 0
    assert re.search(r"needs \d+ GPUs, of which this cluster has 0", reason)
    with AIForge(machines.url) as forge:
        assert forge.sources.list().total == 0, "nothing was begun"


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_demo_is_a_job_like_any_other(machines: Machines) -> None:
    _, output, _ = submit(machines, "demo", "--no-wait", "--submission-id=nightly-7")
    assert "submitted successfully" in output
    with AIForge(machines.url) as forge:
        deadline = time.monotonic() + 600
        while not (listed := forge.jobs.list()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    told(f"GET /jobs: {[(job.id, job.project_name, job.status) for job in listed]}")
    followed = machines.run("aiforge", "job", "follow", listed[0].id)
    told(f"$ aiforge job follow {listed[0].id}\n{followed.stdout}{followed.stderr}")
    assert followed.returncode == 0
    with AIForge(machines.url) as forge:
        assert forge.jobs.get(listed[0].id).status == "completed"
    lines = [json.loads(line) for line in (machines.home / logs.FILE).open()]
    about = {line["component"] for line in lines if line.get("request") == "nightly-7"}
    told(f"lines with the id of the submission: {sorted(about)}")
    assert about == {"dispatcher", "driver", "train"}
    shown = machines.run("aiforge", "job", "list")
    told(f"$ aiforge job list\n{shown.stdout}")
    assert listed[0].id in shown.stdout
