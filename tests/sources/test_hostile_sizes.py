"""Repositories of hostile sizes, really made: a million files, and a blob of ten gigabytes.

python -m pytest -m slow tests/sources/test_hostile_sizes.py
"""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from pathlib import Path

import pytest
from repositories import git, repository

from aiforge.errors import Failure
from aiforge.sources.sync import list_files, sync_git
from aiforge.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_FILES = 1_000_000
_GIGABYTES = 10


def _import(root: Path, *parts: bytes) -> None:
    """Commit by ``git fast-import``."""
    with subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=root, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(
            b"commit refs/heads/main\ncommitter A <a@example.org> 1700000000 +0000\n"
            b"data 4\nmany\nfrom refs/heads/main^0\n"
        )
        for part in parts:
            process.stdin.write(part)
    assert process.returncode == 0


def _write_zeros(root: Path, size: int) -> str:
    """Put a blob of so many zeros into the objects of a repository; returns its name.

    The same compressed megabyte is written again and again, so that it takes seconds and little
    room where ``git hash-object`` takes minutes.
    """
    header, zeros = b"blob %d\0" % size, bytes(1 << 20)
    digest, check = hashlib.sha1(header, usedforsecurity=False), zlib.adler32(header)
    deflate = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    head = deflate.compress(header) + deflate.flush(zlib.Z_FULL_FLUSH)
    part = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    pending = root / ".git" / "huge"
    with pending.open("wb") as stream:
        stream.write(b"\x78\x01" + head)
        for _ in range(size // len(zeros)):
            digest.update(zeros)
            check = zlib.adler32(zeros, check)
            stream.write(part)
        stream.write(deflate.flush() + check.to_bytes(4, "big"))
    name = digest.hexdigest()
    target = root / ".git" / "objects" / name[:2] / name[2:]
    target.parent.mkdir(exist_ok=True)
    pending.rename(target)
    return name


def test_a_million_files_fail_clearly_and_leave_nothing(tmp_path: Path) -> None:
    root = repository(tmp_path / "roots" / "p", {"a.py": "x = 1\n"})
    names = (b"M 100644 inline d%d/f%d.py\ndata 2\nx\n" % (n % 1000, n) for n in range(_FILES))
    _import(root, *names)
    storage = Storage(str(tmp_path / "storage"))
    with pytest.raises(Failure) as failed:
        sync_git(storage, "src-1", str(root), allowed_roots=[root.parent])
    assert failed.value.code == "source_too_many_files"
    assert storage.names("sources") == []


def test_a_blob_of_ten_gigabytes_is_listed_and_never_held(tmp_path: Path) -> None:
    root = repository(tmp_path / "roots" / "p", {"a.py": "x = 1\n"})
    size = _GIGABYTES << 30
    name = _write_zeros(root, size)
    listing = f"{git(root, 'ls-tree', 'HEAD')}\n100644 blob {name}\thuge.py\n"
    tree = git(root, "mktree", stdin=listing.encode())
    made = git(root, "commit-tree", "-p", "HEAD", "-m", "huge", tree)
    git(root, "update-ref", "refs/heads/main", made)
    storage = Storage(str(tmp_path / "storage"))
    result = sync_git(storage, "src-1", str(root), allowed_roots=[root.parent])
    assert result.file_count == 1
    (huge,) = [file for file in list_files(storage, result.snapshot) if file.skipped]
    assert (huge.path, huge.size, huge.skipped) == ("huge.py", size, "larger than 1024 KiB")
