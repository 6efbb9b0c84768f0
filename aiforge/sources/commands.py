"""Git as a child process that trusts neither its repository nor its surroundings."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from aiforge.errors import Failure
from aiforge.sources.credentials import Credentials
from aiforge.sources.limits import Deadline
from aiforge.sources.remote import Remote, resolve_host

_CONFIG = (
    "core.symlinks=false",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.bigFileThreshold=1m",  # larger objects are streamed, never held in memory
    "core.protectNTFS=false",
    "credential.helper=",
    "fetch.fsckObjects=true",
    # Faults of old repositories that harm nobody.
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.recurseSubmodules=false",
    "fetch.unpackLimit=1",
    "gc.autoDetach=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "protocol.version=2",
    "submodule.recurse=false",
)

# Proxies and certificate authorities are the operator's choice; all else stays outside.
_INHERITED = (
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "LD_LIBRARY_PATH",
    "NO_PROXY",
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "https_proxy",
    "no_proxy",
)


class GitCommands:
    """Runs git commands on one repository; a context manager that owns a private ``HOME``.

    Args:
        repository: The bare repository.
        deadline: No command runs past it.
        credentials: What opens private remotes.
    """

    def __init__(
        self, repository: Path, deadline: Deadline, credentials: Credentials | None = None
    ) -> None:
        if shutil.which("git") is None:
            raise Failure("git is not installed. Install it (`apt install git`).", code="no_git")
        self.repository = repository
        self.deadline = deadline
        self._credentials = credentials or Credentials()
        self._home = tempfile.TemporaryDirectory(prefix="aiforge-git-")

    def __enter__(self) -> GitCommands:
        return self

    def __exit__(self, *_: object) -> None:
        self._home.cleanup()

    def start(self, *arguments: str, remote: Remote | None = None, feed: bool = False) -> Running:
        """Start ``git arguments…``; only a command given a remote may open connections.

        Args:
            feed: Whether the command reads its standard input.
        """
        from git.cmd import Git

        settings = [*_CONFIG, *(self._pinned(remote) if remote else ())]
        command = [
            *("env", "-i", *(f"{key}={value}" for key, value in self._environment(remote))),
            *("git", f"--git-dir={self.repository}"),
            *(part for setting in settings for part in ("-c", setting)),
            *arguments,
        ]
        process: Any = Git(self._home.name).execute(
            command,
            istream=subprocess.PIPE if feed else None,
            as_process=True,
            start_new_session=True,
        )
        return Running(process, self.deadline)

    def run(self, *arguments: str, remote: Remote | None = None) -> bytes:
        """Run a command whose output is small and return that.

        Raises:
            GitError: It failed.
        """
        with self.start(*arguments, remote=remote) as running:
            output = running.stdout.read(64 << 20)
        return bytes(output)

    def _environment(self, remote: Remote | None) -> Iterator[tuple[str, str]]:
        for name in _INHERITED:
            if name in os.environ:
                yield name, os.environ[name]
        home = Path(self._home.name)
        askpass = self._credentials.askpass(remote, home) if remote else None
        trusted = home / "gitconfig"
        if remote and remote.protocol == "file" and not trusted.exists():
            trusted.write_text(_safe_directories())
        yield from {
            "HOME": self._home.name,
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": remote.protocol if remote else "none",
            "GIT_ASKPASS": askpass or "/bin/false",
            "GIT_CONFIG_GLOBAL": str(trusted) if trusted.exists() else os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }.items()
        if remote and remote.protocol == "ssh":
            yield "GIT_SSH_COMMAND", self._credentials.ssh_command(remote)
            yield "GIT_SSH_VARIANT", "ssh"

    def _pinned(self, remote: Remote) -> Iterator[str]:
        if remote.protocol == "https" and (addresses := resolve_host(remote)):
            joined = ",".join(f"[{a}]" if ":" in a else a for a in addresses)
            yield f"http.curloptResolve={remote.host}:{remote.port}:{joined}"


class GitError(Exception):
    """A git command failed; ``stderr`` is the end of what it said."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


class Running:
    """A git process; leaving the context ends it and raises what went wrong.

    A command that is left before it has ended is killed with its children.
    """

    def __init__(self, process: Any, deadline: Deadline) -> None:
        self._handle = process  # GitPython ends the process when this is collected
        self._process = process.proc
        self._deadline = deadline
        self._said: deque[bytes] = deque(maxlen=200)
        self._ears = threading.Thread(target=self._listen, daemon=True)
        self._ears.start()
        self._guard = threading.Timer(deadline.remaining, self.kill)
        self._guard.daemon = True
        self._guard.start()

    @property
    def stdout(self) -> io.BufferedReader:
        """The command's output."""
        return self._process.stdout  # type: ignore[no-any-return]

    @property
    def stdin(self) -> io.BufferedWriter:
        """The command's input, where it was started with one."""
        return self._process.stdin  # type: ignore[no-any-return]

    @property
    def last_words(self) -> str:
        """The newest line or progress report on the error stream."""
        return self._said[-1].decode(errors="replace") if self._said else ""

    def wait(self, seconds: float) -> bool:
        """Whether the command has ended within that time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the command and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        status = self._finish()
        if kind is None or issubclass(kind, (BrokenPipeError, EOFError)):
            self._deadline.check()
            if status or kind is not None:
                raise GitError(self._stderr()) from error

    def _finish(self) -> int:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        status: int = self._process.wait()
        self._guard.cancel()
        self._ears.join(timeout=5)
        self._process.stderr.close()
        return status

    def _listen(self) -> None:
        pending = b""
        with contextlib.suppress(OSError, ValueError):
            while data := self._process.stderr.read1(4096):
                *lines, pending = (pending + data).replace(b"\r", b"\n").split(b"\n")
                self._said.extend(line[:500] for line in lines if line.strip())
                pending = pending[-500:]
        if pending:
            self._said.append(pending)

    def _stderr(self) -> str:
        return "\n".join(line.decode(errors="replace") for line in self._said)


def _safe_directories() -> str:
    """The ``safe.directory`` entries of the operator's own configuration, and nothing else of it.

    Without them git refuses repositories that belong to another user, as it should.
    """
    done = subprocess.run(
        ["git", "config", "--global", "--null", "--get-all", "safe.directory"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=30,
        check=False,
    )
    values = [value for value in done.stdout.split("\0") if value and "\n" not in value]
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "".join(f'[safe]\n\tdirectory = "{value}"\n' for value in quoted)
