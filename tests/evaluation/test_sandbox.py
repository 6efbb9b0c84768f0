"""Code that nobody has read gets nothing of this machine, under every mechanism that is here."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiforge.errors import Unavailable
from aiforge.evaluation import sandbox_probe
from aiforge.evaluation.sandbox import Confinement, Limits, Outcome, Sandbox
from aiforge.evaluation.sandbox_bubblewrap import Bubblewrap
from aiforge.evaluation.sandbox_landlock import Landlock

QUICK = Limits(seconds=20, memory_bytes=1 << 29)


@pytest.fixture(scope="module", params=[Bubblewrap, Landlock], ids=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    confinement = request.param()
    if lack := confinement.lacking():
        pytest.skip(f"{confinement.name} {lack}")
    return Sandbox(confinement)


def refused(program: str) -> str:
    """A program that passes only where each of its ways fails with an ``OSError``."""
    return (
        f"try:\n{''.join(f'    {line}' for line in program.splitlines(True))}\n"
        "except (OSError, MemoryError):\n    pass\nelse:\n    raise SystemExit('let through')\n"
    )


def run(sandbox: Sandbox, program: str, limits: Limits = QUICK) -> Outcome:
    return sandbox.run(program, limits)


def test_a_program_that_comes_to_its_end_passed(sandbox: Sandbox) -> None:
    program = (
        "import sys\nprint('out')\nprint('err', file=sys.stderr)\nassert __name__ == '__main__'"
    )

    outcome = run(sandbox, program)

    assert outcome.passed
    assert sorted(outcome.output.split()) == ["err", "out"]
    assert outcome.seconds < QUICK.seconds


@pytest.mark.parametrize(
    "program",
    [
        "raise ValueError('no')",
        "assert 1 == 2",
        "def broken(:",
        "import os\nos._exit(0)",
        "raise SystemExit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nos._exit(0)",
        "import sys\nprint('passed')\nsys.stdout.flush()\nimport os\nos._exit(0)",
        "import atexit, os\natexit.register(lambda: os._exit(3))",
    ],
)
def test_whatever_ends_otherwise_did_not_pass(sandbox: Sandbox, program: str) -> None:
    assert run(sandbox, program).reason == "failed"


def test_the_marker_stands_where_a_program_would_look_for_it_nowhere(sandbox: Sandbox) -> None:
    program = (
        "import os, re, sys\n"
        "seen = [repr(sys.argv), repr(dict(os.environ)), repr(globals()), repr(sys.orig_argv)]\n"
        "try:\n    seen.append(os.read(0, 4096).decode())\nexcept OSError:\n    pass\n"
        "assert not re.search('[0-9a-f]{32}', ' '.join(seen)), seen\n"
    )

    assert run(sandbox, program).passed


def test_there_is_no_network(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        attack = refused(
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)"
        )
        assert run(sandbox, attack).passed
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_files_of_the_host_are_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    for path in (secret, Path("/etc/passwd"), Path(__file__), Path("/proc/1/environ")):
        assert run(sandbox, refused(f"open({str(path)!r}).read()")).passed, path
    for path in (secret, Path("/usr/x"), Path("/x"), Path("/dev/x")):
        assert run(sandbox, refused(f"open({str(path)!r}, 'w').write('x')")).passed, path
    assert secret.read_text() == "s"


def test_memory_is_bounded(sandbox: Sandbox) -> None:
    limits = Limits(seconds=20, memory_bytes=1 << 30)

    assert run(sandbox, refused("bytearray(2 << 30)"), limits).passed
    assert run(sandbox, "x = bytearray(1 << 28)", limits).passed


def test_a_fork_storm_comes_to_nothing(sandbox: Sandbox) -> None:
    storm = (
        "import os, time\n"
        "started = 0\n"
        "try:\n"
        "    while started < 500:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(60)\n"
        "        started += 1\n"
        "except OSError:\n"
        "    pass\n"
        "assert started < 32, started\n"
    )

    assert run(sandbox, storm).passed


def test_no_daemon_survives(sandbox: Sandbox) -> None:
    token = uuid.uuid4().hex
    daemon = (
        "import os, sys\n"
        "try:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            null = os.open(os.devnull, os.O_RDWR)\n"
        "            os.dup2(null, 1), os.dup2(null, 2)\n"
        f"            code = 'import time; time.sleep(60)  # {token}'\n"
        "            os.execv(sys.executable, [sys.executable, '-c', code])\n"
        "        os._exit(0)\n"
        "except OSError:\n"
        "    pass\n"
    )

    outcome = run(sandbox, daemon)

    assert outcome.passed, outcome
    assert list(processes_that_mention(token)) == []


def processes_that_mention(token: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if token.encode() in path.read_bytes():
                yield str(path)
        except OSError:
            continue


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)",
        "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(60)",
    ],
    ids=["loop", "deaf", "silent"],
)
def test_what_does_not_end_is_ended(sandbox: Sandbox, program: str) -> None:
    before = children()

    outcome = run(sandbox, program, Limits(seconds=1))

    assert outcome.reason == "timeout"
    assert outcome.seconds < 8
    assert children() - before == set(), "a process or zombie stays behind"


def children() -> set[str]:
    found: set[str] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        found.update(path.read_text().split())
    return found


def test_huge_output_is_cut_off(sandbox: Sandbox) -> None:
    limits = Limits(seconds=20, output_bytes=1000)

    outcome = run(sandbox, "while True: print('x' * 10_000)", limits)

    assert outcome.reason == "too_much_output"
    assert len(outcome.output) <= 1000
    assert run(sandbox, "print('x' * 900)", limits).passed


def test_disks_cannot_be_filled(sandbox: Sandbox) -> None:
    fill = (
        "written = 0\n"
        "for where in ('/tmp', '/dev/shm', '/'):\n"
        "    for number in range(64):\n"
        "        try:\n"
        "            with open(f'{where}/{number}', 'wb') as file:\n"
        "                written += file.write(bytes(1 << 20))\n"
        "        except OSError:\n"
        "            break\n"
        "assert written <= 2 * (8 << 20), written\n"
    )

    assert run(sandbox, fill, Limits(seconds=20, scratch_bytes=8 << 20)).passed


def test_a_directory_can_be_read_and_no_more(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("answer = 42\n")
    tmp_path.chmod(0o755)
    program = "import sys\nsys.path.insert(0, '')\nimport module\nassert module.answer == 42\n"

    with_packages = program + "import pytest\n" + refused("open('module.py', 'w')")
    outcome = sandbox.run(with_packages, QUICK, directory=tmp_path)

    assert outcome.passed, outcome.output
    assert (tmp_path / "module.py").read_text() == "answer = 42\n"


class Leaky:
    """No confinement at all."""

    name = "nothing"

    def lacking(self) -> str | None:
        return None

    def start(
        self, bootstrap: str, limits: Limits, directory: Path | None, program: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["python3", "-c", bootstrap],
            stdin=program,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()


def test_what_holds_nothing_is_found_out() -> None:
    fault = sandbox_probe._holds(Leaky())

    assert fault == "does not keep a program from the network"


@pytest.fixture
def forgotten_probe() -> Iterator[None]:
    sandbox_probe._probe.cache_clear()
    yield
    sandbox_probe._probe.cache_clear()


@pytest.mark.usefixtures("forgotten_probe")
def test_without_a_mechanism_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(Landlock, "lacking", lambda self: "is not offered by this kernel")

    with pytest.raises(Unavailable, match="no generated code is run") as caught:
        sandbox_probe.open_sandbox()

    assert caught.value.code == "sandbox_unavailable"
    assert "bwrap" in caught.value.message


@pytest.mark.usefixtures("forgotten_probe")
def test_where_namespaces_are_forbidden_landlock_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    if lack := Landlock().lacking():
        pytest.skip(f"landlock {lack}")
    monkeypatch.setattr(
        Bubblewrap, "_command", lambda *_: ["sh", "-c", "echo no namespace; exit 1"]
    )

    found = sandbox_probe.open_sandbox()

    assert found.name == Landlock.name
    fault = sandbox_probe.examine()[0].fault
    assert fault is not None
    assert "no namespace" in fault


def test_descriptors_are_given_back(sandbox: Sandbox) -> None:
    run(sandbox, "pass")
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        run(sandbox, "pass")
        run(sandbox, "while True: pass", Limits(seconds=0.3))

    assert len(os.listdir("/proc/self/fd")) == before


def test_every_mechanism_is_a_confinement() -> None:
    mechanisms: list[Confinement] = [Bubblewrap(), Landlock(), Leaky()]

    assert len({one.name for one in mechanisms}) == 3
