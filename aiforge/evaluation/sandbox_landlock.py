"""Confinement without user namespaces: Landlock for files, seccomp for everything else."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from aiforge.evaluation import sandbox_confine
from aiforge.evaluation.sandbox import Limits, kill_pid, readable_roots, variables

_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/dev/urandom", "/dev/zero")


class Landlock:
    """An interpreter that gives up its rights before it runs the program.

    It can start no process and write no file: what must be bounded otherwise does not exist.
    Programs that need either fail, which an exam's gold run shows before anything is scored.
    """

    name = "landlock + seccomp"

    def lacking(self) -> str | None:
        """Which part is missing."""
        if sandbox_confine.landlock_version() < 1:
            return "is not offered by this kernel"
        if importlib.util.find_spec("pyseccomp") is None:
            return "needs the package pyseccomp"
        return None

    def start(
        self, bootstrap: str, limits: Limits, directory: Path | None, program: int
    ) -> subprocess.Popen[bytes]:
        """See ``Confinement.start``."""
        roots = [*readable_roots(environment=True), *map(Path, _SYSTEM)]
        if directory is not None:
            roots.append(directory.resolve())
        order = {
            "limits": asdict(limits),
            "readable": [str(root) for root in roots],
            "bootstrap": bootstrap,
        }
        script = str(Path(sandbox_confine.__file__).resolve())
        return subprocess.Popen(
            [sys.executable, "-I", "-B", script, json.dumps(order)],
            stdin=program,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables(),
            cwd=directory or "/",
            start_new_session=True,
        )

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the interpreter, which is all that there is."""
        kill_pid(process.pid)
