"""The whole road from a repository to a model that answers, with an object store for all files.

It takes some minutes: ``pytest -m slow tests/e2e/test_object_store.py``
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from harness import RECIPE, aiforge, free_port
from prose import NOUNS, module

from aiforge.settings import Settings
from aiforge.storage import Storage

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto.server")


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of a bucket on a server in a process of its own, as all workers will see it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AIFORGE_STORAGE_URI": "s3://forge/platform",
    }.items():
        monkeypatch.setenv(name, value)
    transport = httpx.HTTPTransport(retries=8)
    with httpx.Client(transport=transport, trust_env=False) as client:
        client.get(endpoint)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="forge")
    yield os.environ["AIFORGE_STORAGE_URI"]
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_everything_works_on_an_object_store(
    object_store: str,
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
    tmp_path: Path,
) -> None:
    repository = make_repository({f"pkg/{name}.py": module(name, functions=5) for name in NOUNS})
    recipe, home, port = tmp_path / "recipe.yaml", tmp_path / "home", free_port()
    recipe.write_text(RECIPE)
    try:
        done = aiforge(
            "demo", "--recipe", str(recipe), "--source", str(repository), "--json",
            home=home, port=port, timeout=800,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        story = json.loads(done.stdout)
        assert story["answer"]
        url = f"http://127.0.0.1:{port}"
        job = httpx.get(f"{url}/jobs/{story['jobId']}").json()
        assert job["result"]["adapterPath"].startswith(object_store)
        export = httpx.get(f"{url}/jobs/{story['jobId']}/exports").json()[0]
        assert export["outputPath"].startswith(object_store)
        content = httpx.get(
            f"{url}/jobs/{story['jobId']}/exports/{export['exportId']}/file", timeout=60
        ).content
        assert hashlib.sha256(content).hexdigest() == export["sha256"]
        collected = aiforge("gc", "--json", home=home, port=port)
        assert json.loads(collected.stdout)["items"] == []
    finally:
        aiforge("down", home=home, port=port)
    storage = Storage(Settings(home=home).resolved_storage_uri)
    assert not [path for path, _, _ in storage.entries() if path.endswith(".partial")]
    # Nothing of weight was left on the local disk instead.
    assert not list((home / "storage").rglob("*.*"))
