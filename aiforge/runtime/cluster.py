"""The local Ray cluster: start it, find it again, and leave nothing behind.

The cluster is one ``ray start --head --block`` in a session of its own. Every process below it
inherits ``AIFORGE_CLUSTER_ID`` and the session, so that ``stop`` finds exactly its own processes
whatever became of their parents, and never touches another Ray cluster on the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
from pydantic import BaseModel

from aiforge import wire
from aiforge.errors import Conflict, Failure, InvalidInput, Unavailable
from aiforge.runtime import environments, haproxy, ports
from aiforge.settings import Settings

CLUSTER_ID = "AIFORGE_CLUSTER_ID"
START_SECONDS = 120.0
STOP_SECONDS = 2.0
LOOKS = 5
STARTED = b"Ray runtime started"


class ClusterInfo(BaseModel):
    """Where a local cluster is; written to ``<home>/cluster.json``."""

    id: str
    pid: int
    address: str
    dashboard: str
    api: str
    temp_dir: str
    token_file: str
    log: str
    metrics_port: int

    def environment(self) -> dict[str, str]:
        """What a process needs to reach the cluster, ``ray job submit`` included."""
        return {
            "RAY_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": self.token_file,
        }


def info_file(settings: Settings) -> Path:
    """Where the description of the local cluster lies."""
    return settings.home / "cluster.json"


def read_info(settings: Settings) -> ClusterInfo | None:
    """The description of the local cluster, whether it still runs or not."""
    try:
        return ClusterInfo.model_validate_json(info_file(settings).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def running(settings: Settings) -> ClusterInfo | None:
    """The local cluster, if its head process is alive."""
    info = read_info(settings)
    return info if info and _is_head(info) else None


FIXED = ("home", "database_url", "database_url_file", "storage_uri", "host", "port", "namespace")
"""Settings that a cluster's processes have from its start to its end."""


def require_same(settings: Settings) -> None:
    """Refuse settings with which the running cluster was not started.

    Raises:
        Unavailable: None runs.
        Conflict: One of ``FIXED`` is another; the message names them.
    """
    info = running(settings)
    if info is None:
        raise Unavailable(
            f"AI Forge is not running from {settings.home}; start it with `aiforge up`.",
            code="platform_not_running",
        )
    require_equal(psutil.Process(info.pid).environ(), settings)


def require_equal(started: Mapping[str, str], settings: Settings) -> None:
    """Refuse settings that differ in ``FIXED`` from the variables of a start.

    Raises:
        Conflict: The message names those that do.
    """
    wanted = environments.of_settings(settings)
    variables = [f"AIFORGE_{name.upper()}" for name in FIXED]
    if differing := [name for name in variables if started.get(name) != wanted.get(name)]:
        raise Conflict(
            f"The platform was started with another {', '.join(differing)}; set it as it was, or "
            "take up the change with `aiforge down` and `aiforge up`.",
            code="settings_differ",
        )


def start(settings: Settings) -> ClusterInfo:
    """Start a local cluster and return once its control service and dashboard answer.

    Raises:
        Conflict: One is running already, or the API's port is taken.
        Failure: Ray did not come up; the message names the log.
    """
    _prepare_home(settings)
    with _lock(settings):
        if running(settings):
            raise Conflict(
                f"AI Forge is already running from {settings.home}; `aiforge down` stops it.",
                code="already_running",
            )
        remove_leftovers(settings)
        ports.require_free(settings.host, settings.port)
        try:
            return _launch(settings, ports.for_dashboard)
        except Failure:
            # On a very busy machine Ray gives up after half a minute; a second start finds much
            # of what it needs in memory. Or another cluster that starts had the usual port first.
            return _launch(settings, next)


def stop(settings: Settings) -> bool:
    """Stop the local cluster and everything that it started; false where there was nothing."""
    _prepare_home(settings)
    with _lock(settings):
        return remove_leftovers(settings)


def remove_leftovers(settings: Settings) -> bool:
    """End every process of the described cluster and remove its temporary directory.

    Nothing is asked to finish its work first: whatever was acknowledged is in the database, and
    interrupted runs are resumed at the next start.
    """
    info = read_info(settings)
    if info is None:
        return False
    # A raylet that is told to end replaces a worker that ended before it: look again.
    for _ in range(LOOKS):
        if not (found := processes_of(info.id, info.pid)):
            break
        end_processes(found)
    shutil.rmtree(info.temp_dir, ignore_errors=True)
    info_file(settings).unlink(missing_ok=True)
    return True


def processes_of(cluster_id: str, head: int | None = None) -> list[psutil.Process]:
    """Every process that was started below a cluster, this one excepted.

    Args:
        head: Process id of the cluster's head, which leads their session. Some of Ray's agents
            write their title over the variables that they inherited, and outlive a raylet that is
            killed by minutes; without it these are not found.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and _is_below(process, cluster_id, head):
                found.append(process)
    return found


def _is_below(process: psutil.Process, cluster_id: str, head: int | None) -> bool:
    variables: dict[str, str] = process.environ()
    if CLUSTER_ID in variables or not process.name().startswith("ray"):
        return variables.get(CLUSTER_ID) == cluster_id
    return head is not None and os.getsid(process.pid) == head


def end_processes(processes: list[psutil.Process], grace: float = STOP_SECONDS) -> None:
    """Terminate processes, and kill those that are still there after ``grace`` seconds."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=grace)


def _launch(settings: Settings, dashboard_port: Callable[[Iterator[int]], int]) -> ClusterInfo:
    cluster_id = secrets.token_hex(8)
    directory = _temp_dir(settings)
    free = ports.free()
    gcs, dashboard, metrics = next(free), dashboard_port(free), next(free)
    info = ClusterInfo(
        id=cluster_id,
        pid=0,
        address=f"127.0.0.1:{gcs}",
        dashboard=f"http://127.0.0.1:{dashboard}",
        api=f"http://{settings.host}:{settings.port}",
        temp_dir=str(directory),
        token_file=str(token_file(settings)),
        log=str(settings.home / "logs" / "ray.log"),
        metrics_port=metrics,
    )
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={directory}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *("--include-dashboard=true", f"--metrics-export-port={metrics}"),
        *(
            f"--dashboard-agent-listen-port={next(free)}",
            f"--ray-client-server-port={next(free)}",
        ),
        *(f"--num-cpus={max(2, os.cpu_count() or 1)}", "--disable-usage-stats"),
    ]
    environment = environments.of_head(settings, info.dashboard)
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": info.token_file}
    environment[CLUSTER_ID] = cluster_id
    replicas, lock = ports.reserve(wire.private_directory())
    try:
        environment |= haproxy.environment(directory, free, replicas)
        with Path(info.log).open("wb") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=settings.home,
                # Its lock on the ports ends when it does.
                pass_fds=(lock,),
            )
    finally:
        os.close(lock)
    info.pid = process.pid
    _write_private(info_file(settings), info.model_dump_json(indent=2))
    try:
        _wait_until_up(info, process)
    except BaseException:
        remove_leftovers(settings)
        raise
    return info


def _wait_until_up(info: ClusterInfo, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = {info.address, info.dashboard.removeprefix("http://")}
    # The last thing to come up is the machine itself in Ray's list of nodes; drivers give up on it
    # sooner than `ray start`, which says that it is there.
    while waiting or STARTED not in Path(info.log).read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = Path(info.log).read_text(errors="replace")[-600:].strip()
            raise Failure(
                f"Ray did not start; the log is {info.log}. Its end: {tail}", code="ray_not_started"
            )
        waiting = {endpoint for endpoint in waiting if not _answers(endpoint)}
        time.sleep(0.1)


def _answers(endpoint: str) -> bool:
    host, _, port = endpoint.partition(":")
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, int(port))) == 0


def _is_head(info: ClusterInfo) -> bool:
    try:
        return bool(psutil.Process(info.pid).environ().get(CLUSTER_ID) == info.id)
    except (psutil.Error, OSError):
        return False


def _prepare_home(settings: Settings) -> None:
    try:
        for name in ("logs", "state", "storage"):
            (settings.home / name).mkdir(parents=True, exist_ok=True)
        settings.home.chmod(0o700)
    except OSError as error:
        raise InvalidInput(
            f"Cannot use {settings.home} as home: {error.strerror}. Set AIFORGE_HOME or --home to "
            "a directory that you may write to.",
            code="home_not_writable",
        ) from error


def _temp_dir(settings: Settings) -> Path:
    """A short path: HAProxy refuses sockets whose name exceeds 97 bytes, its own part 68."""
    owner = f"{os.getuid()} {settings.home.resolve()}"
    directory = Path("/tmp") / f"aif-{hashlib.sha256(owner.encode()).hexdigest()[:10]}"  # noqa: S108
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    return directory


def token_file(settings: Settings) -> Path:
    """Where the secret lies that the local cluster's processes share; it is made if need be."""
    path = settings.home.resolve() / "ray_auth_token"
    settings.home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_private(path, secrets.token_hex(32))
    return path


def _write_private(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    partial.replace(path)


@contextlib.contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """One start or stop at a time."""
    import fcntl

    with (settings.home / ".cluster.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "Another `aiforge up` or `down` is at work in this home; wait for it.",
                code="cluster_busy",
            ) from error
        yield
