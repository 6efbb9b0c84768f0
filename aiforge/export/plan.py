"""What an export is to make and what it made; imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiforge.modeling.bases import BaseModel
from aiforge.schemas.exports import FLOAT_QUANTIZATIONS, ExportFormat

PARITY_FILE = "parity.json"
MAIN_FILES = {
    "gguf": "model.gguf",
    "safetensors": "model.safetensors",
    "peft": "adapter_model.safetensors",
}
"""The file that a format is about; others lie beside it."""


BITS = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q6_k": 6.6,
    "q5_k_m": 5.8,
    "q4_k_m": 5.0,
    "q4_k_s": 4.8,
    "q3_k_m": 4.2,
    "q2_k": 3.5,
}
"""Bits per weight of a file, rounded up; the embedding keeps more than the rest."""


class Progress(Protocol):
    """Told how far the work is, 0 to 1; raises ``Cancelled`` where it is to stop."""

    def __call__(self, fraction: float, stage: str | None = None) -> None: ...


@dataclass(frozen=True)
class ExportPlan:
    """One export; picklable.

    ``model`` is a local directory with the true base, or with the whole model after ``full``;
    ``adapter`` one with a plain LoRA on it. What is made lies in ``workspace``, a local directory
    that is the export's own. ``quantization`` is a key of ``gguf_quantize.FILE_TYPES``; safetensors
    take ``f32``, ``f16`` or ``bf16``, and an adapter is copied as it is.
    """

    base: BaseModel
    model: Path
    adapter: Path | None
    format: ExportFormat
    quantization: str
    name: str
    workspace: Path
    threads: int | None = None


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export; the size is in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Check:
    """One thing that was compared: what was found, and what it may be at most or must be.

    ``unit`` says what the numbers count.
    """

    name: str
    measured: float
    bound: float
    unit: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class ExportReport:
    """What an export made, and how it compares with transformers."""

    main: str
    files: list[ExportedFile]
    checks: list[Check]
    notes: list[str] = field(default_factory=list)
    stop_tokens: list[str] = field(default_factory=list)
    context_length: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each stage took."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return asdict(self)


def disk_bytes(parameters: int, format: str, quantization: str) -> int:
    """Room that an export takes while it is made, in bytes."""
    bits = BITS[quantization]
    if format == "gguf" and quantization not in FLOAT_QUANTIZATIONS:
        bits += BITS["f32"]
    return int(parameters * bits / 8) + (64 << 20)
