"""Storage: what is written is seen whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiforge.errors import InvalidInput, NotFound
from aiforge.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


def test_a_file_comes_back_as_it_was_written(storage: Storage) -> None:
    storage.write_bytes("a/b/c.bin", b"\x00\x01")

    assert storage.read_bytes("a/b/c.bin") == b"\x00\x01"
    assert storage.names("a/b") == ["c.bin"]
    assert storage.size("a") == 2
    assert Path(storage.uri_of("a/b/c.bin")).read_bytes() == b"\x00\x01"


def test_writing_again_replaces_and_leaves_no_partial_file(storage: Storage) -> None:
    storage.write_json("x.json", {"n": 1})
    storage.write_json("x.json", {"n": 2})

    assert storage.read_json("x.json") == {"n": 2}
    assert storage.names("") == ["x.json"]


def test_a_directory_is_published_and_fetched_as_a_whole(storage: Storage, tmp_path: Path) -> None:
    local = tmp_path / "made"
    (local / "deep").mkdir(parents=True)
    (local / "deep" / "f").write_text("new")
    storage.write_bytes("out/stale", b"old")

    storage.upload(local, "out")

    assert storage.names("out") == ["deep"]
    back = storage.download("out", tmp_path / "back")
    assert (back / "deep" / "f").read_text() == "new"


def test_what_is_not_there_is_said_to_be_so(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        storage.read_bytes("none")
    with pytest.raises(NotFound, match="does not exist"):
        storage.download("none", tmp_path / "x")
    assert not storage.exists("none")
    assert storage.names("none") == []
    storage.delete("none")


def test_delete_takes_files_and_directories(storage: Storage) -> None:
    storage.write_bytes("d/one", b"1")
    storage.write_bytes("f", b"2")

    storage.delete("d")
    storage.delete("f")

    assert storage.names("") == []


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InvalidInput, match="gopher"):
        Storage("gopher://somewhere/x")
