"""Exports: a trained model as a file that other programs load."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from aiforge.schemas.common import Request, Timestamp, Wire

ExportFormat = Literal["gguf", "safetensors", "peft"]
Quantization = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_k_s", "q3_k_m", "q2_k"
]

FLOAT_QUANTIZATIONS: frozenset[str] = frozenset({"f32", "f16", "bf16"})


class ExportStatus(StrEnum):
    """Where an export is in its life."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class ExportRequest(Request):
    """``POST /jobs/{id}/export``: what to make of a job's model.

    ``quantization`` is ``q4_k_m`` by default for ``gguf`` and ``f16`` for ``safetensors``, which
    takes ``f32``, ``f16`` and ``bf16`` alone. An adapter (``peft``) stays as it was trained.
    """

    quantization: Quantization | None = None
    format: ExportFormat = "gguf"
    deploy_to_ollama: bool = False


class ExportFile(Wire):
    """One file of an export; ``size`` is in bytes."""

    name: str
    size: int
    sha256: str


class Export(Wire):
    """One export of a job's model; ``outputPath`` names a file that was loaded and compared."""

    export_id: str
    job_id: str
    status: ExportStatus
    format: ExportFormat
    quantization: Quantization | None = None
    output_path: str | None = None
    ollama_name: str | None = None
    size: int | None = None
    sha256: str | None = None
    files: list[ExportFile] = Field(default_factory=list)
    stop_tokens: list[str] = Field(default_factory=list)
    context_length: int | None = None
    created_at: Timestamp
    finished_at: Timestamp | None = None
    progress: float = 0.0
    stage: str | None = None
    queued_reason: str | None = None
    error: str | None = None
    error_code: str | None = None


class ExportDetail(Export):
    """An export with what was compared before it was called completed."""

    parity: dict[str, Any] | None = None
