"""An upload to an object store that is killed leaves no torn object, and is made anew."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiforge.storage import Storage

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")

SIZE = 24 << 20
BUCKET = "forge"
UPLOAD = """
import sys
from pathlib import Path
from aiforge.storage import Storage

Storage(sys.argv[1]).upload(Path(sys.argv[2]), "exports/export-1")
print("whole", flush=True)
"""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a real HTTP server that behaves as S3 does, with a bucket."""
    threaded = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    threaded.start()
    host, port = threaded.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield client
    threaded.stop()


def test_a_killed_upload_is_not_there_until_it_was_made_whole(s3: Any, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    content = os.urandom(1 << 20) * (SIZE >> 20)
    (made / "model.gguf").write_bytes(content)
    storage = Storage(f"s3://{BUCKET}/below")
    path = "exports/export-1/model.gguf"
    command = [sys.executable, "-c", UPLOAD, storage.uri, str(made)]

    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads"):
        assert first.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
    first.kill()
    assert first.communicate()[0] == b""

    assert not storage.exists(path)
    again = subprocess.run(command, capture_output=True, check=True)
    assert again.stdout == b"whole\n"
    wanted = hashlib.sha256(content).hexdigest()
    assert hashlib.sha256(storage.read_bytes(path)).hexdigest() == wanted
    local = storage.download("exports/export-1", tmp_path / "back")
    assert hashlib.sha256((local / "model.gguf").read_bytes()).hexdigest() == wanted
