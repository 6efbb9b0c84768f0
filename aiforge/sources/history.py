"""Where a source stands in its commits: what came since the last sync, and small clean changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa

from aiforge.schemas.sources import SourceCommit, SourceHistory
from aiforge.sources.commands import GitCommands, GitError

CHANGES = pa.schema(
    [
        ("commit", pa.string()),
        ("subject", pa.string()),
        ("path", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("diff", pa.string()),
    ]
)
CHANGES_FILE = "changes.parquet"

DEPTH = 200
"""Commits that the first fetch of a repository brings along; later ones bring what is new."""

_MOST_NAMED = 100
_MOST_LOGGED = 300
_MOST_BYTES = 16 << 20
_MOST_CHANGES = 400
_MOST_LINES = 30

_RECORD = re.compile(rb"\x00\x01([0-9a-f]{40,64})\x00([^\x00\n]*)\n", re.DOTALL)
_FILE = re.compile(r"^diff --git ", re.MULTILINE)
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@.*\n", re.MULTILINE)
# As CommitPack filters (2308.07124): one file, a subject that says what was done and why.
_DULL = re.compile(
    r"^(?:merge|revert|bump|release|version|wip|fixup!|squash!|initial|update (?:readme|change"
    r"log|dependenc|version)|v?\d+\.\d+)|https?://|^\W*#?\d+\W*$|auto-?generated",
    re.IGNORECASE,
)


class History:
    """Reads the log of a mirror.

    Args:
        git: Runs commands on the mirror.
    """

    def __init__(self, git: GitCommands) -> None:
        self._git = git

    def since(self, commit: str, branch: str, previous: str | None) -> SourceHistory:
        """What lies between the commit of the sync before and the newest one.

        The number is unknown where the mirror does not hold the earlier commit any more, as after
        a rewritten history that the remote has forgotten.
        """
        found = SourceHistory(commit=commit, branch=branch, previous_commit=previous)
        if previous is None:
            return found
        try:
            self._git.run("cat-file", "-e", f"{previous}^{{commit}}")
            between = f"{previous}..{commit}"
            found.commit_count = int(self._git.run("rev-list", "--count", between, "--"))
            found.commits = list(self._commits(between))
            found.rewritten = not self._is_ancestor(previous, commit)
        except GitError:
            found.commit_count = None
        return found

    def changes(self, commit: str) -> list[dict[str, str]]:
        """Rows of ``CHANGES``: recent commits that did one small thing to one file."""
        options = (
            *("--no-merges", "--patch", "--unified=3", "--no-color", "--no-ext-diff"),
            *("--no-textconv", "--no-renames", "--diff-filter=M", f"--max-count={_MOST_LOGGED}"),
        )
        data = b""
        try:
            with self._git.start(
                "log", *options, "--format=%x00%x01%H%x00%s", commit, "--"
            ) as running:
                data = running.stdout.read(_MOST_BYTES)
                if running.stdout.read(1):
                    running.kill()
        except GitError:
            if not data:
                return []
        return list(_changes(data))[:_MOST_CHANGES]

    def _commits(self, between: str) -> Iterator[SourceCommit]:
        log = self._git.run(
            "log", "-z", f"--max-count={_MOST_NAMED}", "--format=%H%x1f%ct%x1f%s", between, "--"
        )
        for record in log.decode(errors="replace").split("\0"):
            name, _, rest = record.strip("\n").partition("\x1f")
            seconds, _, subject = rest.partition("\x1f")
            if name:
                yield SourceCommit(id=name, at=_moment(seconds), subject=subject[:500])

    def _is_ancestor(self, earlier: str, later: str) -> bool:
        try:
            self._git.run("merge-base", "--is-ancestor", earlier, later)
        except GitError:
            return False
        return True


def _moment(seconds: str) -> datetime:
    """A time as git tells it; hostile ones lie outside of what a date can be."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _changes(log: bytes) -> Iterator[dict[str, str]]:
    records = list(_RECORD.finditer(log))
    ends = [*(record.start() for record in records), len(log)][1:]
    for record, end in zip(records, ends, strict=True):
        subject = record[2].decode(errors="replace").strip()
        if not 3 <= len(subject.split()) <= 20 or _DULL.search(subject):
            continue
        try:
            patch = log[record.end() : end].decode()
        except UnicodeDecodeError:
            continue
        if len(_FILE.findall(patch)) == 1 and (change := _change(patch)):
            yield {"commit": record[1].decode(), "subject": subject} | change


def _change(patch: str) -> dict[str, str] | None:
    """The one hunk of a patch, if it is small and changes lines among others that stay."""
    head, *hunks = _HUNK.split(patch)
    path = re.search(r"^\+\+\+ b/(.+)$", head, re.MULTILINE)
    if path is None or len(hunks) != 1:
        return None
    lines = [line for line in hunks[0].rstrip("\n").split("\n") if not line.startswith("\\")]
    while lines and not lines[-1].strip():
        lines.pop()
    while lines and not lines[0].strip():
        lines.pop(0)
    marks = {mark: sum(line[:1] == mark for line in lines) for mark in "+- "}
    if not marks["+"] or not marks[" "] or marks["+"] + marks["-"] > _MOST_LINES:
        return None
    return {
        "path": path[1],
        "before": "\n".join(line[1:] for line in lines if line[:1] != "+"),
        "after": "\n".join(line[1:] for line in lines if line[:1] != "-"),
        "diff": "\n".join(lines),
    }
