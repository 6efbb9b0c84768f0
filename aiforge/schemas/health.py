"""Health and resources of the platform."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiforge.schemas.common import Timestamp, Wire


class HealthChecks(Wire):
    """Each a real probe with a time limit."""

    database: bool
    ollama: bool
    gpu: bool


class Health(Wire):
    """``GET /health``."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: Timestamp
    checks: HealthChecks


class Cpu(Wire):
    """Utilization in percent."""

    utilization: float
    cores: int


class Memory(Wire):
    """Bytes."""

    total: int
    used: int


class Gpu(Wire):
    """One device; memory in bytes, utilization in percent, temperature in degrees Celsius."""

    name: str
    memory_used: int | None = None
    memory_total: int | None = None
    utilization: float | None = None
    temperature: float | None = None


class OllamaStatus(Wire):
    """What the Ollama server says of itself."""

    status: Literal["running", "unreachable"]
    version: str | None = None
    models_loaded: list[str] = Field(default_factory=list)


class SystemStatus(Wire):
    """``GET /status``; ``uptime`` in seconds."""

    healthy: bool
    version: str
    uptime: float
    cpu: Cpu
    memory: Memory
    gpu: Gpu | None = None
    gpus: list[Gpu] = Field(default_factory=list)
    ollama: OllamaStatus
    running_jobs: int
    queued_jobs: int = 0
