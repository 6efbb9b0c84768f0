"""``aiforge doctor``: what is missing on this machine, and the remedy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import httpx

from aiforge.settings import Settings, config_dir

Verdict = Literal["ok", "missing", "optional"]

PLATFORM_PACKAGES = (
    *("alembic", "deepspeed", "gitpython", "peft", "prometheus-client", "pyarrow", "ray"),
    *("sqlalchemy", "tokenizers", "torch", "transformers", "tree-sitter"),
)
MIN_FREE_BYTES = 5 << 30
MIN_MEMORY_BYTES = 6 << 30


@dataclass(frozen=True)
class Check:
    """One finding. ``optional`` tells of something that the main job does without."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order in which a newcomer would meet the problem."""
    probes: list[Callable[[Settings], Iterator[Check]]] = [
        *(_python, _programs, _packages, _hardware, _sandbox, _home, _port, _database, _ollama),
    ]
    return [check for probe in probes for check in probe(settings)]


def _python(_: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Check(
        "Python", "ok" if good else "missing", version, "" if good else "Install Python 3.11."
    )


def _programs(_: Settings) -> Iterator[Check]:
    git, compiler = shutil.which("git"), shutil.which("g++")
    yield Check(
        "git",
        "ok" if git else "missing",
        git or "not found",
        "" if git else "Repositories are read with it: apt-get install git",
    )
    yield Check(
        "g++",
        "ok" if compiler else "optional",
        compiler or "not found",
        "" if compiler else "DeepSpeed's offload compiles with it: apt-get install g++",
    )


def _packages(_: Settings) -> Iterator[Check]:
    missing = []
    versions = {}
    for name in PLATFORM_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Check(
            "Platform packages",
            "missing",
            f"without {', '.join(missing)}",
            "make setup, or pip install 'aiforge[platform]'",
        )
    else:
        shown = ", ".join(f"{name} {versions[name]}" for name in ("ray", "torch", "deepspeed"))
        yield Check("Platform packages", "ok", shown)
    if strays := _untested(versions):
        yield Check(
            "Tested versions",
            "optional",
            ", ".join(strays),
            "make setup installs the versions of constraints.txt",
        )


def _untested(versions: dict[str, str]) -> list[str]:
    constraints = config_dir().parent / "constraints.txt"
    if not constraints.exists():
        return []
    pins = dict(
        line.strip().split("==", 1) for line in constraints.read_text().splitlines() if "==" in line
    )
    return [
        f"{name} {version} (tested: {pins[name]})"
        for name, version in versions.items()
        if name in pins and version.split("+")[0] != pins[name].split("+")[0]
    ]


def _hardware(settings: Settings) -> Iterator[Check]:
    yield Check("CPU", "ok", f"{os.cpu_count()} cores")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = memory >= MIN_MEMORY_BYTES
    yield Check(
        "Memory",
        "ok" if enough else "missing",
        f"{memory / 2**30:.0f} GiB",
        "" if enough else "The demo needs about 6 GiB.",
    )
    gpus = shutil.which("nvidia-smi")
    yield Check(
        "GPU",
        "ok" if gpus else "optional",
        "nvidia-smi found" if gpus else "none",
        "" if gpus else "Small models train on the CPU; larger ones need a CUDA device.",
    )


def _sandbox(_: Settings) -> Iterator[Check]:
    if importlib.util.find_spec("pyseccomp") is None:
        return
    from aiforge.evaluation import sandbox_probe

    *rejected, last = sandbox_probe.examine()
    faults = "; ".join(f"{one.name} {one.fault}" for one in rejected)
    if last.fault is None:
        yield Check("Sandbox", "ok", last.name + (f" ({faults})" if faults else ""))
    else:
        yield Check(
            "Sandbox",
            "optional",
            "; ".join(filter(None, (faults, f"{last.name} {last.fault}"))),
            "Without one no generated code is run, so HumanEval and exams are not measured: "
            "apt-get install bubblewrap, and allow user namespaces.",
        )


def _home(settings: Settings) -> Iterator[Check]:
    place = settings.home
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        yield Check(
            "Home", "missing", f"{settings.home} is not writable", "Set AIFORGE_HOME or --home."
        )
        return
    free = shutil.disk_usage(place).free
    enough = free >= max(MIN_FREE_BYTES, settings.disk_reserve_bytes)
    yield Check(
        "Home",
        "ok" if enough else "missing",
        f"{settings.home}, {free / 2**30:.0f} GiB free",
        "" if enough else "Free some space, or set AIFORGE_HOME to another disk.",
    )


def _port(settings: Settings) -> Iterator[Check]:
    url = f"http://{settings.host}:{settings.port}"
    try:
        status = httpx.get(f"{url}/health", timeout=2).json().get("status")
    except (httpx.HTTPError, ValueError, AttributeError):
        status = None
    if status:
        yield Check("API", "ok", f"{url} is {status}")
    elif _listens(settings.host, settings.port):
        yield Check("API", "missing", f"{url} is something else", "aiforge up --port 8010")
    else:
        yield Check("API", "optional", f"{url} is free", "aiforge up --detach starts the platform")


def _database(settings: Settings) -> Iterator[Check]:
    url = settings.resolved_database_url
    if url.startswith("sqlite"):
        yield Check("Database", "ok", "SQLite under the home directory")
        return
    if importlib.util.find_spec("sqlalchemy") is None:
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect():
            yield Check("Database", "ok", shown)
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        yield Check("Database", "missing", f"{shown}: {reason}", "Check AIFORGE_DATABASE_URL.")


def _ollama(settings: Settings) -> Iterator[Check]:
    try:
        version = httpx.get(f"{settings.ollama_url}/api/version", timeout=2).json()["version"]
        yield Check("Ollama", "ok", f"{version} at {settings.ollama_url}")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        yield Check(
            "Ollama",
            "optional",
            f"nothing at {settings.ollama_url}",
            "Deployment needs one: start `ollama serve`, or set AIFORGE_OLLAMA_URL.",
        )


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def passed(checks: list[Check]) -> bool:
    """Whether the main job can run."""
    return all(check.verdict != "missing" for check in checks)
