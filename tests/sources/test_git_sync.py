"""Repositories to snapshots: what is read, what is reused, what fails and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import blob, commit, git, raw_tree_commit, repository

from aiforge.errors import AIForgeError, Cancelled, Failure, InvalidInput
from aiforge.sources.git import Mirror
from aiforge.sources.limits import Limits
from aiforge.sources.sync import (
    SyncResult,
    list_files,
    read_manifest,
    sync_git,
    sync_local,
)
from aiforge.storage import Storage, git_mirror

CODE = 'def add(a: int, b: int) -> int:\n    """Add two numbers."""\n    return a + b\n'


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {f"pkg/m{i}.py": CODE.replace("add", f"add_{i}") for i in range(5)}
    return repository(tmp_path / "roots" / "project", {**files, "README.md": "# Title\n\nText.\n"})


def sync(storage: Storage, root: Path, **options: object) -> SyncResult:
    return sync_git(
        storage,
        "src-1",
        str(root),
        allowed_roots=[root.parent],
        **options,  # type: ignore[arg-type]
    )


def reasons(storage: Storage, result: SyncResult) -> dict[str, str]:
    return {f.path: f.skipped for f in list_files(storage, result.snapshot) if f.skipped}


def test_a_snapshot_holds_the_files_of_the_commit(storage: Storage, project: Path) -> None:
    stages: list[tuple[float, str]] = []
    result = sync(storage, project, progress=lambda part, stage: stages.append((part, stage)))
    head = git(project, "rev-parse", "HEAD")
    manifest = read_manifest(storage, result.snapshot)
    assert result.revision.startswith(f"{head}-")
    assert (manifest.commit, manifest.branch) == (head, "main")
    assert (result.file_count, result.skipped_count) == (6, 0)
    assert result.total_bytes == sum(p.stat().st_size for p in project.rglob("*.[pm][yd]"))
    files = {file.path: file for file in list_files(storage, result.snapshot)}
    assert files["pkg/m0.py"].language == "python"
    assert files["pkg/m0.py"].blob == git(project, "rev-parse", "HEAD:pkg/m0.py")
    assert stages[-1][1] == "reading files"
    assert [part for part, _ in stages] == sorted(part for part, _ in stages)


def test_working_tree_and_hooks_of_the_repository_do_not_matter(
    storage: Storage, project: Path, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    for name in ("post-checkout", "reference-transaction", "post-update", "pre-auto-gc"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {witness}\n")
        hook.chmod(0o755)
    git(project, "config", "core.fsmonitor", f"touch {witness}")
    git(project, "config", "uploadpack.packObjectsHook", f"touch {witness}")
    git(project, "config", "core.sshCommand", f"touch {witness}")
    (project / "uncommitted.py").write_text(CODE)
    result = sync(storage, project)
    assert result.file_count == 6
    assert not witness.exists()


def test_the_surrounding_git_environment_does_not_matter(
    storage: Storage, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.sshCommand")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "false")
    result = sync_git(storage, "src-1", str(project), allowed_roots=[project.parent])
    assert result.file_count == 6


def test_the_same_commit_is_not_read_twice(storage: Storage, project: Path) -> None:
    first = sync(storage, project)
    stamp = read_manifest(storage, first.snapshot).created_at
    assert sync(storage, project) == first
    assert read_manifest(storage, first.snapshot).created_at == stamp


def test_after_new_commits_only_changed_blobs_are_read(
    storage: Storage, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(project, {"LICENSE": "Apache License\nVersion 2.0, January 2004\n", "x.dat": b"\0\1"})
    first = sync(storage, project)
    assert read_manifest(storage, first.snapshot).blobs_read == 8
    read: list[str] = []
    original = Mirror.read

    def spy(self: Mirror, blobs: object) -> object:
        names = list(blobs)  # type: ignore[call-overload]
        read.extend(names)
        return original(self, names)

    monkeypatch.setattr(Mirror, "read", spy)
    commit(project, {"pkg/m1.py": CODE + "\n# changed\n", "pkg/new.py": CODE, "pkg/m2.py": None})
    second = sync(storage, project)
    changed = {git(project, "rev-parse", f"HEAD:pkg/{n}.py") for n in ("m1", "new")}
    assert set(read) == changed
    assert read_manifest(storage, second.snapshot).blobs_read == 2
    fresh = Storage(str(Path(storage.root).parent / "fresh"))
    cold = sync(fresh, project)
    assert _content(storage, second) == _content(fresh, cold)
    assert reasons(storage, second) == reasons(fresh, cold) == {"x.dat": "binary file"}


def test_other_patterns_give_another_snapshot_without_reading_again(
    storage: Storage, project: Path
) -> None:
    everything = sync(storage, project)
    python = sync(storage, project, include=["*.py"], exclude=["m0.py"])
    assert python.revision != everything.revision
    assert python.revision[:40] == everything.revision[:40]
    assert read_manifest(storage, python.snapshot).blobs_read == 0
    assert reasons(storage, python) == {
        "README.md": "matches no include pattern",
        "pkg/m0.py": "excluded by `m0.py`",
    }
    again = sync(storage, project)
    assert again == everything


def test_branches(storage: Storage, project: Path) -> None:
    git(project, "checkout", "-q", "-b", "feature/x")
    commit(project, {"extra.py": CODE})
    git(project, "checkout", "-q", "main")
    assert sync(storage, project).file_count == 6
    assert sync(storage, project, branch="feature/x").file_count == 7
    with pytest.raises(InvalidInput, match=r"feature/x, main") as missing:
        sync(storage, project, branch="nope")
    assert missing.value.code == "branch_not_found"
    git(project, "checkout", "-q", "--detach")
    commit(project, {"detached.py": CODE})
    assert sync(storage, project).file_count == 7


def test_shallow_bare_and_worktree_repositories_are_read(
    storage: Storage, project: Path, tmp_path: Path
) -> None:
    commit(project, {"a.py": CODE})
    roots = project.parent
    git(roots, "clone", "-q", "--depth=1", f"file://{project}", "shallow")
    git(roots, "clone", "-q", "--bare", str(project), "bare.git")
    git(project, "worktree", "add", "-q", str(roots / "tree"), "HEAD")
    for number, name in enumerate(("shallow", "bare.git", "tree")):
        result = sync_git(storage, f"src-{number}", str(roots / name), allowed_roots=[roots])
        assert result.file_count == 7, name


def test_links_submodules_and_odd_names_are_listed_with_a_reason(
    storage: Storage, project: Path
) -> None:
    content = blob(project, CODE.encode())
    link = blob(project, b"/etc/passwd")
    head = git(project, "rev-parse", "HEAD")
    raw_tree_commit(
        project,
        [
            ("100644", b"a.py", content),
            ("100644", b"bad-\xff.py", content),
            ("100644", b"bell\x07.py", content),
            ("120000", b"link.py", link),
            ("160000", b"module", head),
            ("100755", b"script.py", content),
        ],
    )
    result = sync(storage, project)
    assert result.file_count == 2
    assert reasons(storage, result) == {
        "bad-\\xff.py": "file name is not UTF-8",
        "bell\x07.py": "path holds control characters",
        "link.py": "symbolic link",
        "module": "submodule",
    }


@pytest.mark.parametrize("name", [b"..", b".git", b"a/b", b".GIT"])
def test_trees_that_try_to_escape_are_refused(storage: Storage, project: Path, name: bytes) -> None:
    raw_tree_commit(project, [("100644", name, blob(project, CODE.encode()))])
    with pytest.raises(Failure) as failed:
        sync(storage, project)
    assert failed.value.code == "source_unsafe"
    assert "\n" not in failed.value.message
    assert storage.names("sources") == []


def test_large_binary_and_odd_contents_are_skipped(storage: Storage, project: Path) -> None:
    lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    commit(
        project,
        {
            "big.py": b"x = 1\n" * 200_000,
            "huge.txt": bytes(30 << 20),
            "weights.bin": lfs,
            "latin.txt": "naïve".encode("latin-1"),
            "latin.py": "# coding: latin-1\nx = 'ä'\n".encode("latin-1"),
            "zero.py": b"\0\0",
            "empty.py": "",
        },
    )
    result = sync(storage, project)
    assert reasons(storage, result) == {
        "big.py": "larger than 1024 KiB",
        "huge.txt": "larger than 1024 KiB",
        "weights.bin": "Git LFS pointer, its content is stored elsewhere",
        "latin.txt": "text in an unknown encoding",
        "zero.py": "binary file",
        "empty.py": "empty file",
    }
    assert result.file_count == 7


def _content(storage: Storage, result: SyncResult) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    manifest = read_manifest(storage, result.snapshot)
    paths = [f"{storage.full(result.snapshot)}/{name}" for name in manifest.files]
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


# What fails, and that nothing stays behind.


def _fails(storage: Storage, url: str, roots: list[Path], **options: object) -> AIForgeError:
    with pytest.raises(AIForgeError) as failed:
        sync_git(storage, "src-1", url, allowed_roots=roots, **options)  # type: ignore[arg-type]
    assert "\n" not in failed.value.message
    assert storage.names("sources") == []
    return failed.value


def test_no_repository(storage: Storage, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    assert _fails(storage, str(plain), [tmp_path]).code == "source_unreachable"
    assert _fails(storage, str(tmp_path / "absent"), [tmp_path]).code == "source_unreachable"
    assert _fails(storage, "/etc", [tmp_path]).code == "path_not_allowed"
    assert _fails(storage, "https://127.0.0.1:1/a/b", [tmp_path]).code == "url_not_allowed"
    assert _fails(storage, "ext::sh", [tmp_path]).code == "url_not_allowed"
    assert _fails(storage, "--upload-pack=x", [tmp_path]).code == "url_invalid"


def test_a_port_where_nobody_listens(storage: Storage, tmp_path: Path) -> None:
    options = {"allowed_hosts": ["localhost"]}
    error = _fails(storage, "https://localhost:1/a/b", [tmp_path], **options)
    assert error.code == "source_unreachable"


def test_empty_repository(storage: Storage, tmp_path: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    git(root, "init", "-q")
    assert _fails(storage, str(root), [tmp_path]).code == "source_empty"
    bare = repository(tmp_path / "no-files", {})
    assert _fails(storage, str(bare), [tmp_path]).code == "source_empty"


def test_nothing_matches(storage: Storage, project: Path) -> None:
    error = _fails(storage, str(project), [project.parent], include=["*.rs"])
    assert error.code == "source_no_files"
    assert "6 × matches no include pattern" in error.message


def test_limits(storage: Storage, project: Path) -> None:
    roots = [project.parent]
    commit(project, {"noise.bin": os.urandom(3 << 20)})
    cases = {
        "source_too_many_files": Limits(max_files=3),
        "source_too_large": Limits(max_total_bytes=100),
        "source_timeout": Limits(max_seconds=0.001),
    }
    for code, limits in cases.items():
        assert _fails(storage, str(project), roots, limits=limits).code == code
    fetched = Limits(max_fetch_bytes=1 << 20)
    assert _fails(storage, str(project), roots, limits=fetched).code == "source_too_large"


def test_what_a_damaged_repository_lacks_is_said(storage: Storage, project: Path) -> None:
    name = git(project, "rev-parse", "HEAD:pkg/m0.py")
    path = project / ".git" / "objects" / name[:2] / name[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    assert _fails(storage, str(project), [project.parent]).code in (
        "source_unsafe",
        "source_unreachable",
    )


def test_cancelling_the_first_sync_leaves_nothing(storage: Storage, project: Path) -> None:
    def stop(_: float, stage: str) -> None:
        if stage == "reading files":
            raise Cancelled("stop")

    assert isinstance(_fails(storage, str(project), [project.parent], progress=stop), Cancelled)


def test_a_later_failure_keeps_what_was_read(storage: Storage, project: Path) -> None:
    first = sync(storage, project)
    with pytest.raises(Failure):
        sync(storage, project, include=["*.rs"])
    assert list_files(storage, first.snapshot)
    commit(project, {"b.py": CODE})
    assert sync(storage, project).file_count == 7


def test_a_mirror_that_a_crash_has_damaged_is_made_again(storage: Storage, project: Path) -> None:
    sync(storage, project)
    mirror = Path(storage.full(git_mirror("src-1")))
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(b"PACK")
    (mirror / "shallow.lock").touch()
    commit(project, {"b.py": CODE})
    assert sync(storage, project).file_count == 7


_KILLED = """
import os, signal, sys
from pathlib import Path
from aiforge.sources.sync import sync_git
from aiforge.storage import Storage
def die(part, stage):
    if stage == "reading files":
        os.kill(os.getpid(), signal.SIGKILL)
sync_git(Storage(sys.argv[1]), "src-1", sys.argv[2], allowed_roots=[Path(sys.argv[2]).parent],
         progress=die)
"""


def test_a_sync_that_was_killed_is_simply_done_again(storage: Storage, project: Path) -> None:
    command = [sys.executable, "-c", _KILLED, storage.uri, str(project)]
    killed = subprocess.run(command, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    names = storage.names("sources/src-1/snapshots")
    assert names
    assert not storage.exists(f"sources/src-1/snapshots/{names[0]}/manifest.json")
    assert sync(storage, project).file_count == 6


# Directories.


def test_a_plain_directory_is_read_by_content(storage: Storage, tmp_path: Path) -> None:
    root = tmp_path / "plain"
    (root / "node_modules" / "x").mkdir(parents=True)
    (root / "node_modules" / "x" / "a.js").write_text("x")
    (root / "src").mkdir()
    (root / "src" / "a.py").write_text(CODE)
    (root / "src" / "link.py").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    first = sync_local(storage, "src-1", str(root), allowed_roots=[tmp_path])
    assert reasons(storage, first) == {
        "node_modules/": "vendored code",
        "pipe": "no regular file",
        "src/link.py": "symbolic link",
    }
    assert sync_local(storage, "src-1", str(root), allowed_roots=[tmp_path]) == first
    (root / "src" / "b.py").write_text(CODE)
    second = sync_local(storage, "src-1", str(root), allowed_roots=[tmp_path])
    assert (second.file_count, second.revision == first.revision) == (2, False)
    assert read_manifest(storage, second.snapshot).blobs_read == 1


def test_a_directory_that_is_a_repository_is_read_by_its_commits(
    storage: Storage, project: Path
) -> None:
    (project / "uncommitted.py").write_text(CODE)
    result = sync_local(storage, "src-1", str(project), allowed_roots=[project.parent])
    assert result.file_count == 6
    assert read_manifest(storage, result.snapshot).commit == git(project, "rev-parse", "HEAD")


def test_directories_that_cannot_be_read(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        "https://example.org/a": "url_invalid",
        "/etc": "path_not_allowed",
        str(tmp_path / "absent"): "source_unreachable",
        str(tmp_path / "empty"): "source_empty",
    }
    for url, code in cases.items():
        with pytest.raises(AIForgeError) as failed:
            sync_local(storage, "src-1", url, allowed_roots=[tmp_path])
        assert failed.value.code == code
        assert storage.names("sources") == []
