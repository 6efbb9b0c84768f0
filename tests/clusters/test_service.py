"""What the RayService tells Serve brings the whole platform up, on machines like its pods.

Run it by hand, it takes some minutes: ``pytest -m slow -s tests/clusters/test_service.py``
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import yaml
from machines import Machines
from prose import NOUNS, module
from test_manifests import the
from test_node_loss import told, until

from aiforge.client import AIForge
from aiforge.errors import Unauthenticated


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    key = tmp_path / "jwt-secret"
    key.touch(mode=0o600)
    key.write_text(secrets.token_urlsafe(48))
    machines = Machines(
        tmp_path / "home",
        {
            "AIFORGE_ENV": "production",
            "AIFORGE_RAY_ADDRESS": "auto",
            "AIFORGE_JWT_SECRET_FILE": str(key),
        },
    )
    yield machines
    machines.stop()


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_service_is_the_whole_platform(
    machines: Machines,
    tmp_path: Path,
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
) -> None:
    told_to_serve = yaml.safe_load(the("service", "RayService")["spec"]["serveConfigV2"])
    told_to_serve["http_options"] = {"host": "127.0.0.1", "port": machines.port}
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump(told_to_serve))
    machines.start_ray_alone(0)
    for _ in range(2):
        machines.start_worker(2, "--labels=pool=cpu")

    begun = time.monotonic()
    address = f"http://127.0.0.1:{machines.dashboard}"
    done = machines.run("serve", "deploy", str(file), "--address", address, RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stdout + done.stderr
    until("the API", lambda: _healthy(machines))
    told(f"healthy {time.monotonic() - begun:.1f} s after `serve deploy`")
    assert httpx.get(f"{machines.url}/-/healthz").status_code == 200

    until("an API replica on each CPU worker", lambda: _replicas(machines) == [0, 1, 1])
    with AIForge(machines.url) as forge, pytest.raises(Unauthenticated):
        forge.jobs.list()
    token = machines.run("aiforge", "key", "token", "--scope", "admin").stdout.strip()
    repository = make_repository({f"pkg_{name}.py": module(name) for name in NOUNS[:2]})
    with AIForge(machines.url, api_key=token) as forge:
        source = forge.sources.create_local(str(repository)).wait()
        told(f"{source.id} is {source.status}: {source.file_count} files")
        assert source.file_count == 2


def _replicas(machines: Machines) -> list[int]:
    """Replicas of the API on each machine, the head first."""
    return [
        sum("ServeReplica:aiforge:Api" in title for title in machine.titles())
        for machine in (machines.head, *machines.workers)
    ]


def _healthy(machines: Machines) -> bool:
    try:
        return httpx.get(f"{machines.url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
