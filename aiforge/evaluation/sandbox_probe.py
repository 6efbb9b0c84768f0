"""Which sandbox holds on this machine: decided once per process, by trying the attacks."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from aiforge.errors import Unavailable
from aiforge.evaluation.sandbox import Confinement, Limits, Sandbox
from aiforge.evaluation.sandbox_bubblewrap import Bubblewrap
from aiforge.evaluation.sandbox_landlock import Landlock

_ATTACKS: Sequence[tuple[str, str]] = (
    (
        "the network",
        "import socket\n"
        "try:\n"
        "    socket.create_connection(('127.0.0.1', {port}), timeout=2).close()\n"
        "except OSError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit(1)\n",
    ),
    (
        "the host's files",
        "try:\n"
        "    open({canary!r}).read()\n"
        "except OSError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit(1)\n",
    ),
    (
        "more memory than allowed",
        "try:\n"
        "    bytearray({memory})\n"
        "except MemoryError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit(1)\n",
    ),
    (
        "the host's processes",
        "import os\n"
        "try:\n"
        "    os.kill({pid}, 0)\n"
        "except OSError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit(1)\n",
    ),
)


def _holds(confinement: Confinement) -> str | None:
    """What a confinement lets through, or why it does not run at all; ``None`` where it holds."""
    sandbox = Sandbox(confinement)
    limits = Limits(seconds=15, memory_bytes=1 << 29)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        tempfile.NamedTemporaryFile() as canary,
        # Its directory is readable for all, so that the confinement alone keeps a program out.
    ):
        os.chmod(canary.name, 0o644)
        facts = {
            "port": server.getsockname()[1],
            "canary": canary.name,
            "memory": 1 << 30,
            "pid": os.getppid() if os.getpid() == 1 else os.getpid(),
        }
        try:
            ready = sandbox.run("print('ready')", limits)
            if not ready.passed:
                return f"does not run: {ready.output.strip()[-200:] or ready.reason}"
            if sandbox.run("import os\nos._exit(0)", limits).passed:
                return "takes an early exit for success"
            for what, attack in _ATTACKS:
                if not sandbox.run(attack.format(**facts), limits).passed:
                    return f"does not keep a program from {what}"
        except OSError as error:
            return f"cannot be started: {error}"
    return None


@dataclass(frozen=True)
class Finding:
    """What trying one mechanism gave: ``fault`` is ``None`` where it holds."""

    name: str
    fault: str | None


@cache
def _probe() -> tuple[Sandbox | None, tuple[Finding, ...]]:
    findings: list[Finding] = []
    for confinement in (Bubblewrap(), Landlock()):
        fault = confinement.lacking() or _holds(confinement)
        findings.append(Finding(confinement.name, fault))
        if fault is None:
            return Sandbox(confinement), tuple(findings)
    return None, tuple(findings)


_probing = threading.Lock()


def examine() -> list[Finding]:
    """Every mechanism that was tried, best first, up to the one that holds; tried once."""
    with _probing:
        return list(_probe()[1])


def open_sandbox() -> Sandbox:
    """The sandbox of this process.

    Raises:
        Unavailable: No mechanism holds here (``sandbox_unavailable``); nothing may be run.
    """
    with _probing:
        sandbox, findings = _probe()
    if sandbox is None:
        tried = "; ".join(f"{finding.name} {finding.fault}" for finding in findings)
        raise Unavailable(
            f"No sandbox holds on this machine, so no generated code is run: {tried}. Install "
            "bubblewrap and allow user namespaces, or use a kernel with Landlock.",
            code="sandbox_unavailable",
            retryAfter=3600,
        )
    return sandbox
