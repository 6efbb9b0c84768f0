"""What all tests share: one Ray cluster per session, and real git repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest
from buckets import ObjectStore

# How long an example takes says something of the machine, and nothing of what is promised.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
# Small tensors on a busy machine: threads that wait for each other cost more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MakeRepository = Callable[[Mapping[str, str | bytes]], Path]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray cluster for the whole session, with four logical CPUs."""
    import ray

    directory = tempfile.mkdtemp(prefix="aift", dir="/tmp")
    options = {
        "address": "local",
        "num_cpus": 4,
        "namespace": "aiforge-tests",
        "include_dashboard": True,
        "log_to_driver": False,
        "_temp_dir": directory,
    }
    try:
        ray.init(**options)
    except Exception:
        # Ray gives its daemon half a minute, which a busy machine may exceed the first time.
        ray.shutdown()
        ray.init(**options)
    yield
    ray.shutdown()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """A function that makes a git repository of the given files, with one commit."""
    count = 0

    def make(files: Mapping[str, str | bytes]) -> Path:
        nonlocal count
        count += 1
        root = tmp_path / f"repository-{count}"
        root.mkdir()
        run_git(root, "init", "-q", "-b", "main")
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        commit_all(root, "first")
        return root

    return make


@pytest.fixture
def commit() -> Callable[[Path, str], str]:
    """A function that commits everything in a working tree and returns the commit's id."""
    return commit_all


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An empty bucket; its name is new, since all servers of a process have the same buckets."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server")
    threaded = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    threaded.start()
    host, port = threaded.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client, bucket = boto3.client("s3"), f"forge-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    yield ObjectStore(f"s3://{bucket}/below", bucket, environment, client)
    threaded.stop()


def run_git(root: Path, *arguments: str) -> str:
    """Run git in a repository with a fixed identity and return what it printed."""
    environment = os.environ | {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    done = subprocess.run(
        ["git", *arguments], cwd=root, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def commit_all(root: Path, message: str) -> str:
    """Commit everything in a working tree and return the commit's id."""
    run_git(root, "add", "-A")
    run_git(root, "commit", "-q", "--allow-empty", "-m", message)
    return run_git(root, "rev-parse", "HEAD").strip()
