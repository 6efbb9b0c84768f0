"""A bare mirror of one branch, read object by object; nothing is ever checked out."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aiforge.errors import AIForgeError, Failure, InvalidInput
from aiforge.sources.commands import GitCommands, GitError
from aiforge.sources.history import DEPTH
from aiforge.sources.limits import Limits
from aiforge.sources.remote import Remote
from aiforge.sources.snapshot import Entry

_HEAD_REF = "refs/aiforge/head"
_PERCENT = re.compile(r"(\d+)%")

# Names asked of `cat-file --batch` ahead of its answers; they must fit into a pipe's buffer.
_WINDOW = 64

# What git says, the code for it, and what it means.
_FAULTS = (
    (
        "dubious ownership",
        "source_unreachable",
        "it belongs to another user; run `git config --global --add safe.directory PATH` "
        "as the platform's user if you trust it",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|terminal prompts disabled"
        r"|Permission denied|HTTP 40[13]|returned error: 40[13]",
        "source_unreachable",
        "it does not exist or is private; have the operator bind a token to its host "
        "(AIFORGE_GIT_TOKENS), or use an ssh:// address whose key may read it",
    ),
    (
        "Host key verification failed",
        "source_unreachable",
        "the host is not in the platform user's ~/.ssh/known_hosts; add its key there, or to the "
        "file that AIFORGE_GIT_KNOWN_HOSTS names",
    ),
    (
        r"returned error: 30\d|redirect",
        "source_unreachable",
        "it has moved, and redirects are not followed; give its new address",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "disk_full",
        "the disk is full; free some space and sync again",
    ),
    (
        r"fsck error|fatal: bad |corrupt|did not receive expected object|invalid index-pack",
        "source_unsafe",
        "git's own checks refuse its objects; repair it with `git fsck`",
    ),
    (
        r"not appear to be a git repository|not found|does not exist|Not a git repository",
        "source_unreachable",
        "there is no git repository at that address; check it",
    ),
)


@dataclass(frozen=True)
class Head:
    """The tip of a remote's branch."""

    commit: str
    branch: str


class Mirror:
    """The newest commit of a remote's branch, kept on a local disk between syncs.

    Args:
        directory: Where the bare repository lies or will lie.
        git: Runs commands on it.
        url: The source's address as the user gave it, for messages.
    """

    def __init__(self, directory: Path, git: GitCommands, limits: Limits, url: str) -> None:
        self._directory = directory
        self._git = git
        self._limits = limits
        self._url = url

    def head(self, remote: Remote, branch: str | None) -> Head:
        """Ask the remote for the tip of a branch, or of its default branch.

        Raises:
            Failure: ``source_unreachable``, or ``source_empty`` where there is no commit.
            InvalidInput: ``branch_not_found``.
        """
        patterns = (f"refs/heads/{branch}",) if branch else ("HEAD",)
        found = self._references(remote, "--symref", *patterns)
        if branch and f"refs/heads/{branch}" in found:
            return Head(found[f"refs/heads/{branch}"], branch)
        if not branch and "HEAD" in found:
            return Head(found["HEAD"], found.get("@HEAD", "HEAD").removeprefix("refs/heads/"))
        names = [name.removeprefix("refs/heads/") for name in self._references(remote, "--heads")]
        if not names:
            raise Failure(
                f"{self._url} has no commits. Commit something, then sync again.",
                code="source_empty",
            )
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        asked = f"no branch {branch!r}" if branch else "no default branch"
        raise InvalidInput(
            f"{self._url} has {asked}; choose one of: {shown}.",
            code="branch_not_found",
            field="branch",
        )

    def fetch(self, remote: Remote, head: Head, progress: Callable[[float], None]) -> str:
        """Bring the tip of a branch here, with some of its history, and return its commit.

        The first fetch brings the newest commits, or the tip alone where those are too large;
        later ones bring what came since.

        Raises:
            Failure: ``source_unreachable``, ``source_unsafe``, ``source_too_large``,
                ``source_timeout`` or ``disk_full``.
        """
        existed = (self._directory / "HEAD").exists()
        if existed:
            self._clear_leftovers()
            try:
                self._transfer(remote, head, progress)
            except GitError:
                # A mirror is only a cache: one that a crash has damaged is made again.
                self._begin(remote, head, progress)
        else:
            self._begin(remote, head, progress)
        return self._git.run("rev-parse", "--verify", f"{_HEAD_REF}^{{commit}}").decode().strip()

    def _begin(self, remote: Remote, head: Head, progress: Callable[[float], None]) -> None:
        """Fetch into a mirror that is made for it."""
        try:
            self._create(head)
            try:
                self._transfer(remote, head, progress, f"--depth={DEPTH}")
            except Failure as failure:
                if failure.code != "source_too_large":
                    raise
                self._create(head)
                self._transfer(remote, head, progress, "--depth=1")
        except GitError as fault:
            raise self._explain(fault) from fault

    def entries(self, commit: str) -> Iterator[Entry]:
        """The files of a commit in the order of its tree.

        Links and submodules come with the reason why they are skipped.

        Raises:
            Failure: ``source_too_many_files``.
        """
        try:
            with self._git.start("ls-tree", "-r", "-l", "-z", "--full-tree", commit) as running:
                records = _split(iter(lambda: running.stdout.read1(1 << 16), b""))
                for count, record in enumerate(records):
                    if count >= self._limits.max_files:
                        raise self._too_many()
                    yield _entry(record)
        except GitError as fault:
            raise self._explain(fault) from fault

    def read(self, blobs: Iterable[str]) -> Iterator[bytes]:
        """Contents of blobs, in the order given; only sizes that were checked may be asked for."""
        names = iter(blobs)
        try:
            with self._git.start("cat-file", "--batch", feed=True) as running:
                while window := list(islice(names, _WINDOW)):
                    running.stdin.write("".join(f"{name}\n" for name in window).encode())
                    running.stdin.flush()
                    for name in window:
                        yield _read_object(running.stdout, name)
        except GitError as fault:
            raise self._explain(fault) from fault

    def _create(self, head: Head) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        algorithm = "sha256" if len(head.commit) == 64 else "sha1"
        self._git.run("init", "--quiet", "--bare", "--template=", f"--object-format={algorithm}")

    def _clear_leftovers(self) -> None:
        """Remove what a killed fetch left; a source is never synced twice at a time."""
        for pattern in ("*.lock", "refs/aiforge/*.lock", "objects/pack/tmp_*"):
            for path in self._directory.glob(pattern):
                path.unlink(missing_ok=True)

    def _transfer(
        self, remote: Remote, head: Head, progress: Callable[[float], None], *options: str
    ) -> None:
        source = head.branch if head.branch == "HEAD" else f"refs/heads/{head.branch}"
        arguments = (
            *("fetch", "--progress", *options, "--update-shallow", "--no-tags", "--force"),
            *("--no-write-fetch-head", "--", remote.address, f"+{source}:{_HEAD_REF}"),
        )
        with self._git.start(*arguments, remote=remote) as running:
            while not running.wait(0.2):
                percent = _PERCENT.search(running.last_words)
                progress(int(percent[1]) / 100 if percent else 0.0)
                self._check_disk()
        self._check_disk()

    def _references(self, remote: Remote, *arguments: str) -> dict[str, str]:
        options = [argument for argument in arguments if argument.startswith("--")]
        patterns = [argument for argument in arguments if not argument.startswith("--")]
        try:
            output = self._git.run(
                "ls-remote", "--quiet", *options, "--", remote.address, *patterns, remote=remote
            )
        except GitError as fault:
            raise self._explain(fault) from fault
        found = {}
        for line in output.decode(errors="replace").splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: "):
                found[f"@{name}"] = value.removeprefix("ref: ")
            else:
                found[name] = value
        return found

    def _check_disk(self) -> None:
        used = 0
        for path in (self._directory / "objects").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                used += path.stat().st_size
        if used > self._limits.max_fetch_bytes:
            raise Failure(
                f"{self._url} holds more than {self._limits.max_fetch_bytes >> 20} MiB. "
                "Split the repository, or upload the part that matters.",
                code="source_too_large",
            )

    def _too_many(self) -> Failure:
        return Failure(
            f"{self._url} has more than {self._limits.max_files:,} files. "
            "Upload the part that matters instead.",
            code="source_too_many_files",
        )

    def _explain(self, fault: GitError) -> AIForgeError:
        for pattern, code, meaning in _FAULTS:
            if re.search(pattern, fault.stderr, re.IGNORECASE):
                return Failure(f"Cannot read {self._url}: {meaning}.", code=code)
        lines = [line for line in fault.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("fatal: ").strip().rstrip(".") if lines else "git failed"
        return Failure(
            f"Cannot read {self._url}: {reason}. Check the address and the network.",
            code="source_unreachable",
        )


def _entry(record: bytes) -> Entry:
    meta, _, name = record.partition(b"\t")
    mode, _, blob, size = meta.decode("ascii").split()
    try:
        path, reason = name.decode("utf-8"), None
    except UnicodeDecodeError:
        path, reason = name.decode("utf-8", "backslashreplace"), "file name is not UTF-8"
    if mode == "120000":
        reason = "symbolic link"
    elif mode == "160000":
        reason = "submodule"
    elif not size.isdigit():
        reason = "object is missing"
    return Entry(path, int(size) if size.isdigit() else 0, blob, reason)


def _read_object(stream: io.BufferedReader, name: str) -> bytes:
    header = stream.readline().split()
    if len(header) != 3 or header[1] != b"blob":
        raise EOFError(f"{name} cannot be read")
    size = int(header[2])
    data = stream.read(size + 1)
    if len(data) != size + 1:
        raise EOFError(f"{name} ends early")
    return data[:-1]


def _split(parts: Iterator[bytes]) -> Iterator[bytes]:
    pending = b""
    for part in parts:
        *records, pending = (pending + part).split(b"\0")
        yield from records
