"""Probes of what the platform depends on: each has a time limit and is remembered briefly."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Generic, TypeVar

import psutil

from aiforge.errors import AIForgeError
from aiforge.schemas.health import Cpu, Gpu, Memory, OllamaStatus
from aiforge.state.access import State

T = TypeVar("T")

REMEMBER_SECONDS = 5.0
STATE_REMEMBER_SECONDS = 1.0
STATE_SECONDS = 3.0
OLLAMA_SECONDS = 1.0
NVIDIA_SMI_SECONDS = 5.0

_NVIDIA_QUERY = "name,memory.used,memory.total,utilization.gpu,temperature.gpu"


class Remembered(Generic[T]):
    """A probe whose answer serves for some seconds; callers at the same time share one."""

    def __init__(
        self, probe: Callable[[], Awaitable[T]], seconds: float = REMEMBER_SECONDS
    ) -> None:
        self._probe = probe
        self._seconds = seconds
        self._until = 0.0
        self._answer: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        """The answer, probed anew where the last one is too old."""
        answer = self._answer
        if answer is None or (answer.done() and time.monotonic() >= self._until):
            answer = self._answer = asyncio.ensure_future(self._probed())
        return await asyncio.shield(answer)

    async def _probed(self) -> T:
        answer = await self._probe()
        self._until = time.monotonic() + self._seconds
        return answer


class Recent(Generic[T]):
    """As ``Remembered``, of a probe that answers quickly enough to be waited for."""

    def __init__(self, probe: Callable[[], T], seconds: float = REMEMBER_SECONDS) -> None:
        self._probe = probe
        self._seconds = seconds
        self._known: tuple[float, T] | None = None

    def __call__(self) -> T:
        """The answer, probed anew where the last one is too old."""
        if self._known is None or time.monotonic() >= self._known[0]:
            self._known = time.monotonic() + self._seconds, self._probe()
        return self._known[1]


class Probes:
    """The state, Ollama, and GPUs, CPU and memory of this machine."""

    def __init__(self, state: State, ollama_url: str) -> None:
        self._state = state
        self._ollama_url = ollama_url.rstrip("/")
        self.state = Remembered(self._ask_state, STATE_REMEMBER_SECONDS)
        self.ollama = Remembered(self._ask_ollama)
        self.gpus = Remembered(_ask_gpus)
        # The first reading covers the time since the process began.
        psutil.cpu_percent()

    async def _ask_state(self) -> bool:
        try:
            async with asyncio.timeout(STATE_SECONDS):
                await self._state.probe()
        except (AIForgeError, TimeoutError):
            return False
        return True

    async def _ask_ollama(self) -> OllamaStatus:
        # Drivers import this module too, and start faster without it; in a thread,
        # because a cold disk takes longer than the state is given to answer.
        await asyncio.to_thread(import_module, "httpx")
        import httpx

        try:
            async with httpx.AsyncClient(timeout=OLLAMA_SECONDS) as client:
                version, loaded = await asyncio.gather(
                    client.get(f"{self._ollama_url}/api/version"),
                    client.get(f"{self._ollama_url}/api/ps"),
                )
            version.raise_for_status()
            models = loaded.json().get("models", []) if loaded.is_success else []
            return OllamaStatus(
                status="running",
                version=version.json().get("version"),
                models_loaded=[model["name"] for model in models],
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
            return OllamaStatus(status="unreachable")

    def cpu(self) -> Cpu:
        """Utilization since the last reading."""
        return Cpu(utilization=psutil.cpu_percent(), cores=psutil.cpu_count() or 1)

    def memory(self) -> Memory:
        """Memory of this machine."""
        memory = psutil.virtual_memory()
        return Memory(total=memory.total, used=memory.total - memory.available)


async def _ask_gpus() -> list[Gpu]:
    return await asyncio.to_thread(_query_nvidia) if shutil.which("nvidia-smi") else []


def _query_nvidia() -> list[Gpu]:
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={_NVIDIA_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=NVIDIA_SMI_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [gpu_of(line) for line in answer.stdout.splitlines() if line.count(",") == 4]


def gpu_of(line: str) -> Gpu:
    """One line of ``nvidia-smi``; a figure that the device does not give reads ``[N/A]``."""
    name, used, total, utilization, temperature = (part.strip() for part in line.split(","))
    return Gpu(
        name=name,
        memory_used=_mebibytes(used),
        memory_total=_mebibytes(total),
        utilization=_number(utilization),
        temperature=_number(temperature),
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _mebibytes(text: str) -> int | None:
    number = _number(text)
    return None if number is None else int(number) << 20
