"""Transfers to and from an object store go on where they stopped, and find what is damaged."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from buckets import ObjectStore

from aiforge import transfers
from aiforge.errors import Failure
from aiforge.storage import Storage

LARGE = transfers.CHECKED_BYTES + 5
CONTENT = os.urandom(1 << 20) * (LARGE >> 20) + b"12345"

FETCH = """
import sys
from pathlib import Path
from aiforge import transfers
from aiforge.storage import Storage

transfers.PIECE_BYTES = 1 << 16
Storage(sys.argv[1]).download("models/m", Path(sys.argv[2]))
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A directory with a large file and a small one below it."""
    directory = tmp_path / "made"
    (directory / "deep").mkdir(parents=True)
    (directory / "model.gguf").write_bytes(CONTENT)
    (directory / "deep" / "config.json").write_bytes(b"{}")
    return directory


@pytest.fixture
def storage(object_store: ObjectStore) -> Storage:
    return Storage(object_store.uri)


def partial_of(directory: Path) -> Path | None:
    """What is there of a file that is being fetched."""
    return next(iter(directory.glob(".model.gguf.*.partial")), None)


def written_at(storage: Storage) -> dict[str, float]:
    return {path: at for path, _, at in storage.entries("models/m")}


def test_what_was_sent_is_not_sent_again(storage: Storage, made: Path) -> None:
    storage.upload(made, "models/m")
    first = written_at(storage)
    (made / "deep" / "config.json").write_bytes(b"{ }")
    time.sleep(1.1)  # the store tells times in seconds
    storage.upload(made, "models/m")
    again = written_at(storage)

    large, small = "models/m/model.gguf", "models/m/deep/config.json"
    assert again[large] == first[large]
    assert again[small] > first[small]
    assert storage.read_bytes(small) == b"{ }"


def test_a_file_that_changed_is_sent_and_fetched_with_its_own_digest(
    storage: Storage, made: Path, tmp_path: Path
) -> None:
    storage.upload(made, "models/m")
    changed = CONTENT[:-1] + b"6"
    (made / "model.gguf").write_bytes(changed)
    storage.upload(made, "models/m")

    back = storage.download("models/m", tmp_path / "back")

    assert (back / "model.gguf").read_bytes() == changed
    assert sorted(path.name for path in back.rglob("*") if path.is_file()) == [
        "config.json",
        "model.gguf",
    ]


def test_a_killed_download_goes_on_where_it_stopped(
    storage: Storage, made: Path, tmp_path: Path
) -> None:
    storage.upload(made, "models/m")
    back = tmp_path / "back"
    process = subprocess.Popen([sys.executable, "-c", FETCH, storage.uri, str(back)])
    deadline = time.monotonic() + 60
    while (partial := partial_of(back)) is None or partial.stat().st_size < 1 << 20:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = partial.stat()
    assert 0 < begun.st_size < LARGE
    assert not (back / "model.gguf").exists()

    storage.download("models/m", back)

    assert (back / "model.gguf").read_bytes() == CONTENT
    # The very file was continued.
    assert (back / "model.gguf").stat().st_ino == begun.st_ino
    assert partial_of(back) is None


def test_a_damaged_beginning_is_fetched_anew(storage: Storage, made: Path, tmp_path: Path) -> None:
    storage.upload(made, "models/m")
    info = storage.filesystem.get_file_info(storage.full("models/m/model.gguf"))
    back = tmp_path / "back"
    back.mkdir()
    (back / f".model.gguf.{info.mtime_ns}-{info.size}.partial").write_bytes(b"x" * 1000)

    storage.download("models/m", back)

    assert (back / "model.gguf").read_bytes() == CONTENT


def test_a_file_that_was_damaged_in_the_store_is_refused(
    object_store: ObjectStore, storage: Storage, made: Path, tmp_path: Path
) -> None:
    storage.upload(made, "models/m")
    key = storage.full("models/m/model.gguf").partition("/")[2]
    damaged = CONTENT[:1000] + b"?" + CONTENT[1001:]
    object_store.client.put_object(Bucket=object_store.bucket, Key=key, Body=damaged)

    with pytest.raises(Failure, match="not what was stored") as refused:
        storage.download("models/m", tmp_path / "back")

    assert refused.value.code == "transfer_damaged"
    assert not (tmp_path / "back" / "model.gguf").exists()


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    storage: Storage, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.upload(made, "models/m")
    read, starts = transfers._from, []

    def breaking(filesystem: object, path: str, start: int) -> object:
        if not path.endswith(".gguf"):
            return read(filesystem, path, start)
        starts.append(start)
        return (
            _one_piece(read(filesystem, path, start))
            if start == 0
            else read(filesystem, path, start)
        )

    monkeypatch.setattr(transfers, "_from", breaking)
    back = storage.download("models/m", tmp_path / "back")

    assert (back / "model.gguf").read_bytes() == CONTENT
    assert starts == [0, transfers.PIECE_BYTES]


def _one_piece(pieces: object) -> object:
    yield next(iter(pieces))  # type: ignore[call-overload]
    raise ConnectionResetError("the store went away")


def test_two_that_fetch_a_file_do_not_write_into_one(
    storage: Storage, made: Path, tmp_path: Path
) -> None:
    storage.upload(made, "models/m")
    local = tmp_path / "here" / "config.json"
    local.parent.mkdir()
    found = storage.filesystem.get_file_info(storage.full("models/m/deep/config.json"))
    partial = local.with_name(f".config.json.{found.mtime_ns}-{found.size}.partial")
    with partial.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"{")
        other.flush()
        storage.download("models/m/deep/config.json", local)
        assert local.read_bytes() == b"{}"
        assert partial.read_bytes() == b"{"
