"""An upload to an object store that is killed leaves no torn object, and is made anew."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from buckets import ObjectStore

from aiforge.storage import Storage

SIZE = 24 << 20
UPLOAD = """
import sys
from pathlib import Path
from aiforge.storage import Storage

Storage(sys.argv[1]).upload(Path(sys.argv[2]), "exports/export-1")
print("whole", flush=True)
"""


def test_a_killed_upload_is_not_there_until_it_was_made_whole(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    content = os.urandom(1 << 20) * (SIZE >> 20)
    (made / "model.gguf").write_bytes(content)
    storage = Storage(object_store.uri)
    path = "exports/export-1/model.gguf"
    command = [sys.executable, "-c", UPLOAD, storage.uri, str(made)]

    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not object_store.client.list_multipart_uploads(Bucket=object_store.bucket).get("Uploads"):
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
