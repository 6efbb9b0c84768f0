"""Repositories for tests: ordinary ones, and such as no honest person makes."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Mapping
from hashlib import sha1
from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(root: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git in a repository and return what it printed."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=os.environ | _IDENTITY,
        check=True,
        capture_output=True,
        input=stdin,
    )
    return done.stdout.decode().strip()


def commit(root: Path, files: Mapping[str, str | bytes | None], message: str = "more") -> str:
    """Write (or, by ``None``, remove) files, commit, and return the commit's id."""
    for name, content in files.items():
        path = root / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(root, "add", "-A", "-f")
    git(root, "commit", "-q", "--allow-empty", "-m", message)
    return git(root, "rev-parse", "HEAD")


def repository(root: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """A repository with one commit of the given files."""
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    commit(root, files, "first")
    return root


def raw_tree_commit(root: Path, entries: list[tuple[str, bytes, str]]) -> str:
    """Commit a tree exactly as given, past git's own checks.

    Args:
        entries: Mode, name and object id of each entry.
    """
    tree = b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(object_id)
        for mode, name, object_id in entries
    )
    tree_id = _loose(root, b"tree", tree)
    who = b"A <a@example.org> 1700000000 +0000"
    text = b"tree " + tree_id.encode() + b"\nauthor " + who + b"\ncommitter " + who + b"\n\nraw\n"
    commit_id = _loose(root, b"commit", text)
    git(root, "update-ref", "refs/heads/main", commit_id)
    return commit_id


def blob(root: Path, data: bytes) -> str:
    """Store content and return its id."""
    return git(root, "hash-object", "-w", "--stdin", stdin=data)


def _loose(root: Path, kind: bytes, body: bytes) -> str:
    data = kind + b" " + str(len(body)).encode() + b"\0" + body
    name = sha1(data).hexdigest()
    path = root / ".git" / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(data))
    return name
