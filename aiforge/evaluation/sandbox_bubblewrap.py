"""Confinement by namespaces, through bubblewrap (``bwrap``)."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from aiforge.evaluation.sandbox import (
    Limits,
    interpreter,
    kill_pid,
    read_json_line,
    readable_roots,
    variables,
)

_NOBODY = "65534"
_DIRECTORY = "/.aiforge-directory"
_SCRATCH = "/tmp"  # noqa: S108 -- of the sandbox
_SHARED = "/dev/shm"  # noqa: S108
_PROGRAMS = ("bwrap", "prlimit")
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")


class Bubblewrap:
    """New namespaces of every kind, an empty root, no capability, limits set inside.

    Root is exempt from the limit on processes, so it becomes nobody first. What nobody may not
    reach, an interpreter below ``/root`` for example, is then mounted by an outer bubblewrap,
    which still has root's rights.
    """

    name = "bubblewrap"

    def __init__(self) -> None:
        self._children: dict[int, int] = {}
        self._lock = threading.Lock()

    def lacking(self) -> str | None:
        """Which program is missing."""
        needed = (*_PROGRAMS, "setpriv") if os.geteuid() == 0 else _PROGRAMS
        missing = [name for name in needed if shutil.which(name) is None]
        return f"is not installed ({', '.join(missing)})" if missing else None

    def start(
        self, bootstrap: str, limits: Limits, directory: Path | None, program: int
    ) -> subprocess.Popen[bytes]:
        """See ``Confinement.start``."""
        report, reported = os.pipe()
        try:
            process = subprocess.Popen(
                self._command(bootstrap, limits, directory, reported),
                stdin=program,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(reported,),
                env={},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(reported)
        with contextlib.closing(open(report, "rb")) as stream:
            child = read_json_line(stream.fileno()).get("child-pid")
        with self._lock:
            self._children = {
                pid: first for pid, first in self._children.items() if Path(f"/proc/{pid}").exists()
            }
            if child is not None:
                self._children[process.pid] = child
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the first process of the namespace: the kernel kills the others with it.

        bubblewrap itself stays to reap that one, so that no zombie is left to anyone.
        """
        with self._lock:
            child = self._children.pop(process.pid, None)
        kill_pid(process.pid if child is None else child)

    def _command(
        self, bootstrap: str, limits: Limits, directory: Path | None, report: int
    ) -> list[str]:
        roots = readable_roots(environment=directory is not None)
        mounts = _mounts(roots, directory)
        python = interpreter() if directory is None else Path(sys.executable)
        inner = [
            _path("bwrap"),
            *("--unshare-all", "--unshare-user", "--disable-userns"),
            *("--die-with-parent", "--new-session"),
            *("--clearenv", "--cap-drop", "ALL", "--info-fd", str(report)),
            *(word for name, value in variables().items() for word in ("--setenv", name, value)),
            *mounts,
            *("--dev", "/dev", "--size", str(limits.scratch_bytes), "--tmpfs", _SHARED),
            *("--size", str(limits.scratch_bytes), "--tmpfs", _SCRATCH),
            *("--remount-ro", "/dev", "--remount-ro", "/"),
            *("--chdir", _DIRECTORY if directory else _SCRATCH, "--"),
            *_limited(limits),
            *(str(python), "-I", "-B", "-c", bootstrap),
        ]
        if os.geteuid() != 0:
            return inner
        return [
            *(_path("bwrap"), "--die-with-parent", "--cap-add", "ALL"),
            *mounts,
            *("--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc", "--dir", _SCRATCH, "--"),
            *(_path("setpriv"), "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups"),
            *_again(inner, directory),
        ]


def _mounts(roots: list[Path], directory: Path | None) -> list[str]:
    words: list[str] = []
    for root in roots:
        # Made by itself, a parent would be closed to all but its owner.
        for parent in reversed(root.parents[:-1]):
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--ro-bind", str(root), str(root)]
    for name in _SYSTEM:
        if os.path.islink(name):
            words += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            words += ["--ro-bind", name, name]
    words += [
        "--perms",
        "0755",
        "--dir",
        "/etc",
        "--ro-bind-try",
        "/etc/ld.so.cache",
        "/etc/ld.so.cache",
    ]
    if directory is not None:
        words += ["--ro-bind", str(directory.resolve()), _DIRECTORY]
    return words


def _again(inner: list[str], directory: Path | None) -> list[str]:
    """The inner command as the outer bubblewrap has laid the files out."""
    source = str(directory.resolve()) if directory is not None else None
    return [
        _DIRECTORY if word == source and inner[index - 1] == "--ro-bind" else word
        for index, word in enumerate(inner)
    ]


def _limited(limits: Limits) -> list[str]:
    return [
        _path("prlimit"),
        f"--as={limits.memory_bytes}",
        f"--cpu={math.ceil(limits.seconds) + 1}",
        f"--fsize={limits.file_bytes}",
        f"--nofile={limits.open_files}",
        f"--nproc={limits.processes}",
        *("--core=0", "--"),
    ]


def _path(program: str) -> str:
    return shutil.which(program) or program
