"""Where a source stands among its commits, and repositories over ssh."""

from __future__ import annotations

import os
import stat
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import commit, git, repository

from aiforge.errors import AIForgeError
from aiforge.sources.git import Mirror
from aiforge.sources.history import CHANGES_FILE, _changes
from aiforge.sources.limits import Limits
from aiforge.sources.sync import Credentials, SyncResult, read_manifest, sync_git
from aiforge.storage import Storage

CALM = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

LINES = [f"line_{number} = {number}" for number in range(30)]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    text = "\n".join(LINES) + "\n"
    return repository(tmp_path / "roots" / "p", {"a.py": text, "b.py": text + "b = 1\n"})


def sync(storage: Storage, root: Path, **options: object) -> SyncResult:
    return sync_git(storage, "src-1", str(root), allowed_roots=[root.parent], **options)  # type: ignore[arg-type]


def test_fifteen_commits_later_the_changed_blobs_are_read_and_the_commits_are_named(
    storage: Storage, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sync(storage, project)
    assert first.history is not None
    assert (first.history.previous_commit, first.history.commit_count) == (None, None)
    before = first.history.commit
    for number in range(15):
        commit(project, {"a.py": "\n".join([*LINES, f"x = {number}"])}, f"Set x to {number}")
    read: list[str] = []
    original = Mirror.read

    def spy(self: Mirror, blobs: object) -> object:
        names = list(blobs)  # type: ignore[call-overload]
        read.extend(names)
        return original(self, names)

    monkeypatch.setattr(Mirror, "read", spy)
    second = sync(storage, project)
    history = second.history
    assert history is not None
    assert read == [git(project, "rev-parse", "HEAD:a.py")]
    assert (history.previous_commit, history.commit_count) == (before, 15)
    assert history.commit == git(project, "rev-parse", "HEAD")
    assert [c.subject for c in history.commits] == [f"Set x to {n}" for n in range(14, -1, -1)]
    assert not history.rewritten
    assert read_manifest(storage, second.snapshot).history == history
    # Looked at again, it stands where it stood.
    assert sync(storage, project).history == history


def test_other_patterns_leave_the_commits_alone(storage: Storage, project: Path) -> None:
    sync(storage, project)
    again = sync(storage, project, include=["a.py"])
    assert again.history is not None
    assert (again.history.commit_count, again.history.commits) == (0, [])


def test_a_rewritten_history_is_told(storage: Storage, project: Path) -> None:
    commit(project, {"c.py": "c = 1\n"}, "Add c")
    sync(storage, project)
    git(project, "reset", "-q", "--hard", "HEAD~1")
    commit(project, {"d.py": "d = 1\n"}, "Add d")
    history = sync(storage, project).history
    assert history is not None
    assert history.rewritten
    assert [c.subject for c in history.commits] == ["Add d"]


def test_a_history_that_is_too_large_is_left_out(storage: Storage, project: Path) -> None:
    commit(project, {"noise.bin": os.urandom(3 << 20)}, "Add noise that is large")
    commit(project, {"noise.bin": None}, "Remove the noise again")
    result = sync(storage, project, limits=Limits(max_fetch_bytes=1 << 20))
    assert result.file_count == 2


def test_small_clean_changes_are_kept_for_questions(storage: Storage, project: Path) -> None:
    changed = [line.replace("line_9 = 9", "line_9 = 90") for line in LINES]
    wanted = commit(project, {"a.py": "\n".join(changed) + "\n"}, "Raise line nine to ninety")
    commit(project, {"a.py": "\n".join([*changed, "z = 1"]) + "\n"}, "wip")
    commit(project, {"a.py": "y = 1\n" * 200}, "Rewrite all of the file at once")
    commit(project, {"a.py": "y = 1\n", "b.py": "z = 1\n"}, "Change both of the files")
    commit(project, {"noise.lock": "a\nb\n"}, "Add a lock file to it")
    commit(project, {"noise.lock": "a\nc\n"}, "Change the lock file of it")
    result = sync(storage, project)
    assert read_manifest(storage, result.snapshot).changes == 1
    (row,) = pq.read_table(f"{storage.full(result.snapshot)}/{CHANGES_FILE}").to_pylist()
    assert (row["commit"], row["subject"], row["path"]) == (
        wanted,
        "Raise line nine to ninety",
        "a.py",
    )
    assert "-line_9 = 9\n+line_9 = 90" in row["diff"]
    assert row["before"].replace("line_9 = 9", "line_9 = 90") == row["after"]
    assert row["after"] in "\n".join(changed)


def test_commits_with_impossible_dates_and_odd_subjects_are_read(
    storage: Storage, project: Path
) -> None:
    sync(storage, project)
    tree = git(project, "rev-parse", "HEAD^{tree}")
    head = git(project, "rev-parse", "HEAD")
    text = (
        f"tree {tree}\nparent {head}\nauthor A <a@b.org> 99999999999999999 +0000\n"
        "committer A <a@b.org> 99999999999999999 +0000\n\nOdd \x01\x1f\xff subject\n"
    )
    odd = git(
        project,
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        "--literally",
        stdin=text.encode("latin-1"),
    )
    git(project, "update-ref", "refs/heads/main", odd)
    history = sync(storage, project).history
    assert history is not None
    assert history.commit_count == 1
    assert history.commits[0].id == odd
    assert "subject" in history.commits[0].subject


@CALM
@given(st.binary(max_size=600))
def test_any_log_is_read(log: bytes) -> None:
    for change in _changes(b"\x00\x01" + b"a" * 40 + b"\x00Do one thing\n" + log):
        assert change["diff"]


# ssh.

_SSH = """#!/bin/sh
printf '%s\\n' "$@" > {log}
for command; do :; done
exec sh -c "$command"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for ssh: notes its arguments and runs the command here."""
    log = tmp_path / "ssh.log"
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(_SSH.format(log=log))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def test_ssh_uses_the_operator_s_key_and_checks_the_host(
    storage: Storage, project: Path, tmp_path: Path, ssh: Path
) -> None:
    key, hosts = tmp_path / "a key's 100%", tmp_path / "known hosts"
    key.write_text("key")
    hosts.write_text("localhost ssh-ed25519 AAAA")
    result = sync_git(
        storage,
        "src-1",
        f"ssh://git@localhost:2222{project}",
        allowed_hosts=["localhost"],
        credentials=Credentials(ssh_key=key, known_hosts=hosts),
    )
    assert result.file_count == 2
    given = ssh.read_text().splitlines()
    options = [value for flag, value in pairwise(given) if flag == "-o"]
    assert f'IdentityFile="{str(key).replace("%", "%%")}"' in options
    assert f'UserKnownHostsFile="{hosts}"' in options
    assert {"IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "BatchMode=yes"} <= set(options)
    assert "HostKeyAlias=localhost" in options
    assert ("-p", "2222") in pairwise(given)
    assert given[:2] == ["-F", "/dev/null"]


def test_a_key_that_cannot_be_read_is_told(
    storage: Storage, project: Path, tmp_path: Path, ssh: Path
) -> None:
    url = f"git@localhost:{project}"
    for key in (tmp_path / "absent", tmp_path / 'odd"\nkey'):
        with pytest.raises(AIForgeError, match="AIFORGE_GIT_SSH_KEY") as refused:
            sync_git(
                storage,
                "src-1",
                url,
                allowed_hosts=["localhost"],
                credentials=Credentials(ssh_key=key),
            )
        assert refused.value.code == "ssh_key_unreadable"
        assert storage.names("sources") == []
    assert not ssh.exists()


def test_ssh_to_a_private_address_is_refused(storage: Storage, project: Path, ssh: Path) -> None:
    for host in ("localhost", "127.0.0.1", "10.0.0.1"):
        with pytest.raises(AIForgeError, match="not public"):
            sync_git(storage, "src-1", f"git@{host}:{project}")
    assert not ssh.exists()
