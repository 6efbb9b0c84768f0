"""Machines of a cluster, all on this one: each a raylet that was started by the shipped scripts."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from aiforge.runtime import cluster

SCRIPTS = Path(__file__).parents[2] / "clusters" / "local"
HEAD_ADDRESS = "127.0.0.1"


class Machine:
    """The processes of one raylet, found by a variable that they inherit."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mark = f"{name}-{secrets.token_hex(4)}"

    def processes(self) -> list[psutil.Process]:
        return cluster.processes_of(self.mark)

    def titles(self) -> list[str]:
        """What its processes call themselves."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                found.append(" ".join(process.cmdline())[:80])
        return found

    def lose_power(self) -> None:
        """Every process is gone at once, and nobody says goodbye."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)

    def stop(self) -> None:
        cluster.end_processes(self.processes())


class Machines:
    """A head with the platform on it, and workers that come and go.

    Args:
        home: Of the platform; its storage is what all machines share.
        variables: Set on all machines beside what this sets.
    """

    def __init__(self, home: Path, variables: Mapping[str, str] | None = None) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.port, self.gcs, self.dashboard = free_port(), free_port(), free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="aifm", dir="/tmp"))
        token = self.directory / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.variables = {
            "AIFORGE_HOME": str(home),
            "AIFORGE_PORT": str(self.port),
            "AIFORGE_URL": self.url,
            "AIFORGE_STORAGE_URI": str(home / "storage"),
            "AIFORGE_SOURCE_ROOTS": f'["{home.parent}"]',
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_PORT": str(self.gcs),
            # Its fixed ports are taken where several clusters share a machine.
            "RAY_SERVE_ENABLE_HA_PROXY": "0",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
            "OMP_NUM_THREADS": "1",
            **(variables or {}),
        }
        self.head = Machine("head")
        self.workers: list[Machine] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{HEAD_ADDRESS}:{self.gcs}"

    def start_head(self, cpus: int, *options: str) -> None:
        """Ray's head and the platform on it, by ``head.sh``."""
        self._script(self.head, SCRIPTS / "head.sh", HEAD_ADDRESS, *self._head(cpus), *options)

    def start_ray_alone(self, cpus: int, *options: str) -> None:
        """Ray's head without anything on it, with the same options."""
        command = (
            f". {SCRIPTS / 'environment.sh'}; exec ray start --head --port={self.gcs} "
            f'--node-ip-address={HEAD_ADDRESS} --disable-usage-stats "$@"'
        )
        self._script(self.head, "sh", "-c", command, "sh", *self._head(cpus), *options)

    def _head(self, cpus: int) -> tuple[str, ...]:
        return (
            f"--num-cpus={cpus}",
            f"--temp-dir={self.directory / 'r'}",
            f"--dashboard-port={self.dashboard}",
            f"--ray-client-server-port={free_port()}",
        )

    def start_worker(self, cpus: int, *options: str) -> Machine:
        """Another machine, by ``worker.sh``; each has an address of its own."""
        machine = Machine(f"worker-{len(self.workers) + 1}")
        self.workers.append(machine)
        address = f"127.0.0.{len(self.workers) + 1}"
        self._script(
            machine,
            *(SCRIPTS / "worker.sh", self.address, f"--num-cpus={cpus}"),
            f"--node-ip-address={address}",
            *options,
        )
        return machine

    def _script(self, machine: Machine, *command: str | Path) -> None:
        """Run what starts a raylet; twice if need be, since Ray gives up on a busy machine."""
        done = self._try_script(machine, *command)
        if done.returncode:
            machine.stop()
            done = self._try_script(machine, *command)
        assert done.returncode == 0, done.stdout + done.stderr + self._logs()

    def _logs(self) -> str:
        """What Ray's processes found wrong."""
        logs = sorted((self.directory / "r").glob("session_latest/logs/*.out"))
        wrong = re.compile(r"^\[\S+ \S+ [CEF] .*", re.MULTILINE)
        return "\n".join(
            f"{log.name}: {line}"
            for log in logs
            for line in wrong.findall(log.read_text(errors="replace"))
        )

    def _try_script(
        self, machine: Machine, *command: str | Path
    ) -> subprocess.CompletedProcess[str]:
        return self.run(
            *map(str, command),
            *("--min-worker-port=0", "--max-worker-port=0"),
            f"--dashboard-agent-listen-port={free_port()}",
            f"--metrics-export-port={free_port()}",
            **{cluster.CLUSTER_ID: machine.mark},
        )

    def run(
        self, *command: str, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as on the head's machine."""
        return subprocess.run(
            command,
            env=self.environment() | variables,
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "DS_", "AIFORGE_"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return kept | self.variables | {"PATH": path}

    def stop(self) -> None:
        for machine in (*self.workers, self.head):
            machine.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HEAD_ADDRESS, 0))
        return int(probe.getsockname()[1])
