"""A Prometheus of the platform's own on this machine: start it, ask it, stop it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from pydantic import BaseModel

from aiforge.errors import Conflict, Failure, InvalidInput, Unavailable
from aiforge.runtime import cluster, metrics, ports
from aiforge.settings import Settings

BINARY = "prometheus"
RETENTION = "15d"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
RAY_TARGETS = "prom_metrics_service_discovery.json"


class Running(BaseModel):
    """The process; ``created_at`` tells it from a later one of the same number."""

    pid: int
    created_at: float
    url: str


def start(settings: Settings, port: int = 9090, scrape_seconds: int = 5) -> Running:
    """Start Prometheus on loopback, and return once it answers.

    It outlives the platform, whose endpoints it finds again by their files.

    Raises:
        Unavailable: It is not installed.
        Conflict: It runs already, or the port is taken.
        Failure: It did not come up; the message names the log.
    """
    binary = shutil.which(BINARY)
    if binary is None:
        raise Unavailable(
            "Prometheus is not installed; on Debian: apt-get install prometheus (its service is "
            "not needed: systemctl disable --now prometheus), elsewhere https://prometheus.io.",
            code="prometheus_missing",
        )
    if found := running(settings):
        raise Conflict(f"Prometheus already runs at {found.url}.", code="already_running")
    ports.require_free("127.0.0.1", port)
    directory = _directory(settings)
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump(configuration(settings, scrape_seconds), sort_keys=False))
    url = f"http://127.0.0.1:{port}"
    log = directory / "prometheus.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--storage.tsdb.retention.time={RETENTION}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created_at = psutil.Process(process.pid).create_time()
    found = Running(pid=process.pid, created_at=created_at, url=url)
    _file(settings).write_text(found.model_dump_json())
    _wait_until_ready(url, process, log)
    return found


def stop(settings: Settings) -> bool:
    """Stop it; false where it did not run."""
    found = running(settings)
    _file(settings).unlink(missing_ok=True)
    if found is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        cluster.end_processes([psutil.Process(found.pid)], STOP_SECONDS)
    return True


def running(settings: Settings) -> Running | None:
    """The process that ``start`` started from this home, if it lives."""
    try:
        found = Running.model_validate_json(_file(settings).read_bytes())
        process = psutil.Process(found.pid)
        lives = process.create_time() == found.created_at
        return found if lives and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def configuration(settings: Settings, scrape_seconds: int) -> dict[str, Any]:
    """What Prometheus is told: the platform's endpoint, those of Ray, and the alerts."""
    jobs = [{"job_name": "aiforge", "file_sd_configs": [_found_in(metrics.targets_file(settings))]}]
    if info := cluster.read_info(settings):
        targets = Path(info.temp_dir) / RAY_TARGETS
        jobs.append({"job_name": "ray", "file_sd_configs": [_found_in(targets)]})
    interval = f"{scrape_seconds}s"
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [str(rules_file())],
        "scrape_configs": jobs,
    }


def rules_file() -> Path:
    """The shipped alerts: the checkout's, else the wheel's."""
    package = Path(__file__).resolve().parents[1]
    relative = Path("clusters", "prometheus", "rules.yml")
    checkout = package.parent / relative
    return checkout if checkout.is_file() else package / relative


def query(url: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """The value of each series of an expression now.

    Raises:
        Unavailable: Prometheus does not answer.
        InvalidInput: It refuses the expression.
    """
    found = _get(url, "query", {"query": expression})
    return [(row["metric"], float(row["value"][1])) for row in found]


def curves(
    url: str, expression: str, minutes: float, points: int
) -> list[tuple[dict[str, str], list[float]]]:
    """The values of each series of an expression over the last minutes, oldest first."""
    end = time.time()
    step = max(1.0, minutes * 60 / points)
    window = {"start": end - minutes * 60, "end": end, "step": step}
    found = _get(url, "query_range", {"query": expression, **window})
    return [(row["metric"], [float(value) for _, value in row["values"]]) for row in found]


def _get(url: str, kind: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        answer = httpx.get(f"{url}/api/v1/{kind}", params=parameters, timeout=30)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Prometheus does not answer at {url}: {error}. Start it with `aiforge metrics up`.",
            code="prometheus_away",
        ) from error
    if answer.status_code != 200:
        raise InvalidInput(f"Prometheus refuses {parameters['query']}: {answer.text[:300]}")
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return result


def _found_in(path: Path) -> dict[str, Any]:
    return {"files": [str(path.absolute())], "refresh_interval": "10s"}


def _directory(settings: Settings) -> Path:
    directory = settings.home.resolve() / "metrics"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _file(settings: Settings) -> Path:
    return _directory(settings) / "prometheus.json"


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/-/ready", timeout=1).status_code == 200:
                return
        time.sleep(0.1)
    cluster.end_processes([psutil.Process(process.pid)] if process.poll() is None else [])
    tail = log.read_text(errors="replace")[-400:].strip()
    raise Failure(
        f"Prometheus did not start; the log is {log}. Its end: {tail}",
        code="prometheus_not_started",
    )
