"""Uploads: files and archives, honest and hostile."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.errors import Failure, InvalidInput
from aiforge.sources.limits import Limits
from aiforge.sources.sync import list_files, sync_upload
from aiforge.sources.uploads import receive, safe_path
from aiforge.storage import Storage, upload_dir

CODE = b'def f():\n    """Do a thing."""\n'


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


def stream(data: bytes) -> BinaryIO:
    return io.BytesIO(data)


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        fill(archive)
    return buffer.getvalue()


def member(archive: tarfile.TarFile, name: str, data: bytes = CODE, **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def test_files_and_archives_end_in_one_snapshot(storage: Storage) -> None:
    archive = zipped(("pkg/a.py", CODE), ("pkg/", b""), ("pkg/logo.png", b"\x89PNG"))
    ball = tarred(lambda t: member(t, "./tar/b.py"))
    received = receive(
        storage,
        "src-1",
        [("c.py", stream(CODE)), ("x.zip", stream(archive)), ("y.tar.gz", stream(ball))],
    )
    assert (received.file_count, received.skipped_count) == (4, 0)
    result = sync_upload(storage, "src-1")
    assert result.file_count == 3
    files = {file.path: file for file in list_files(storage, result.snapshot)}
    assert set(files) == {"c.py", "pkg/a.py", "pkg/logo.png", "tar/b.py"}
    assert files["pkg/logo.png"].skipped == "binary file"
    assert files["pkg/a.py"].language == "python"
    assert sync_upload(storage, "src-1") == result


def test_names_never_become_paths(storage: Storage, tmp_path: Path) -> None:
    receive(storage, "src-1", [("deep/name.py", stream(CODE))])
    assert storage.names(upload_dir("src-1")) == ["content.bin", "index.json"]
    assert not list(tmp_path.rglob("name.py"))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../etc/passwd",
            "/etc/passwd",
            "a/../../b",
            "..",
            ".",
            "",
            "C:\\x",
            "c:/x",
            "\\\\h\\s",
        ),
        *("a\\..\\..\\b", "a\x00b", "a\nb", "\x1b[2J", "x" * 5000),
    ],
)
def test_hostile_names_are_refused_everywhere(storage: Storage, name: str) -> None:
    uploads: list[tuple[str, bytes]] = [(name, CODE)]
    if name and "\x00" not in name and name not in (".",):
        uploads.append(("x.zip", zipped((zipfile.ZipInfo(name), CODE))))
        uploads.append(("x.tgz", tarred(lambda archive: member(archive, name))))
    for given_name, data in uploads:
        with pytest.raises(InvalidInput) as refused:
            receive(storage, "src-1", [("good.py", stream(CODE)), (given_name, stream(data))])
        assert refused.value.code == "upload_name_invalid"
        assert not storage.exists(upload_dir("src-1"))


@given(st.text(max_size=80))
def test_a_safe_path_stays_below(name: str) -> None:
    try:
        path = safe_path(name)
    except InvalidInput:
        return
    parts = path.split("/")
    assert ".." not in parts
    assert "" not in parts
    assert not path.startswith("/")
    assert safe_path(path) == path


def test_only_regular_members_are_unpacked(storage: Storage, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zipped((link, b"/etc/passwd"), ("ok.py", CODE))

    def fill(ball: tarfile.TarFile) -> None:
        member(ball, "soft.py", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        member(ball, "hard.py", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        member(ball, "null.py", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        member(ball, "pipe.py", b"", type=tarfile.FIFOTYPE)
        member(ball, "fine.py")

    receive(storage, "src-1", [("a.zip", stream(archive)), ("b.tar.gz", stream(tarred(fill)))])
    result = sync_upload(storage, "src-1")
    skipped = {f.path: f.skipped for f in list_files(storage, result.snapshot) if f.skipped}
    assert skipped == dict.fromkeys(
        ["link.py", "soft.py", "hard.py", "null.py", "pipe.py"], "no regular file"
    )
    assert result.file_count == 2


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_bombs_are_stopped_by_their_ratio(storage: Storage, kind: str) -> None:
    zeros = bytes(900 << 10)
    count = 60
    if kind == "zip":
        data = zipped(*((f"{i}.py", zeros) for i in range(count)))
    else:
        data = tarred(lambda t: [member(t, f"{i}.py", zeros) for i in range(count)] and None)
    assert len(data) < 1 << 18
    with pytest.raises(InvalidInput) as refused:
        receive(storage, "src-1", [(f"bomb.{kind}", stream(data))])
    assert refused.value.code == "upload_too_large"
    assert not storage.exists(upload_dir("src-1"))


def test_a_member_above_the_cap_is_listed_and_not_stored(storage: Storage) -> None:
    limits = Limits(max_file_bytes=1024)
    big = b"x = 1\n" * 1000
    receive(
        storage,
        "src-1",
        [("big.py", stream(big)), ("a.zip", stream(zipped(("z.py", big), ("ok.py", CODE))))],
        limits,
    )
    result = sync_upload(storage, "src-1", limits=limits)
    skipped = {f.path: f.skipped for f in list_files(storage, result.snapshot) if f.skipped}
    assert skipped == dict.fromkeys(["big.py", "z.py"], "larger than 1 KiB")


def test_counts_are_capped(storage: Storage) -> None:
    limits = Limits(max_files=5)
    members = [(f"{i}.py", CODE) for i in range(6)]
    ball = tarred(lambda t: [member(t, name) for name, _ in members] and None)
    for name, data in (("a.zip", zipped(*members)), ("a.tgz", ball)):
        with pytest.raises(InvalidInput) as refused:
            receive(storage, "src-1", [(name, stream(data))], limits)
        assert refused.value.code == "upload_too_many_files"


def test_total_size_is_capped(storage: Storage) -> None:
    limits = Limits(max_total_bytes=2000)
    files = [(f"{i}.py", stream(b"x" * 900)) for i in range(3)]
    with pytest.raises(InvalidInput) as refused:
        receive(storage, "src-1", files, limits)
    assert refused.value.code == "upload_too_large"


def _huge_header() -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 3 << 20
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"a" * (3 << 20))


def _huge_directory() -> bytes:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 100 << 20, 0, 0)
    return b"PK\3\4" + bytes(64) + end


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", b"no archive"),
        ("a.zip", zipped(("a.py", CODE))[:-30]),
        ("a.zip", _huge_directory()),
        ("a.tar.gz", b"no archive"),
        ("a.tar.gz", gzip.compress(b"no tar" * 200)),
        ("a.tar.gz", tarred(lambda t: member(t, "a.py", CODE * 500))[:-40]),
        ("a.tar.gz", _huge_header()),
    ],
)
def test_damaged_archives_are_refused(storage: Storage, name: str, data: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        receive(storage, "src-1", [(name, stream(data))])
    assert refused.value.code == "upload_archive_invalid"
    assert not storage.exists(upload_dir("src-1"))


def test_encrypted_archives_are_refused(storage: Storage) -> None:
    data = bytearray(zipped(("a.py", CODE)))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(InvalidInput, match="encrypted") as refused:
        receive(storage, "src-1", [("a.zip", stream(bytes(data)))])
    assert refused.value.code == "upload_archive_invalid"


def test_streams_that_cannot_be_rewound_are_unpacked_too(storage: Storage) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

    received = receive(storage, "src-1", [("a.zip", Pipe(zipped(("a.py", CODE))))])
    assert received.file_count == 1


def test_nothing_uploaded(storage: Storage) -> None:
    with pytest.raises(InvalidInput) as refused:
        receive(storage, "src-1", [])
    assert refused.value.code == "upload_empty"
    with pytest.raises(Failure) as failed:
        sync_upload(storage, "src-1")
    assert failed.value.code == "source_empty"


def test_an_upload_is_kept_when_its_first_sync_fails(storage: Storage) -> None:
    receive(storage, "src-1", [("a.py", stream(CODE))])
    with pytest.raises(Failure) as failed:
        sync_upload(storage, "src-1", include=["*.rs"])
    assert failed.value.code == "source_no_files"
    assert storage.names("sources/src-1") == ["upload"]
    assert sync_upload(storage, "src-1").file_count == 1
