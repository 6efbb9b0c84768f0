"""What a run will occupy, and whether there is room for it at all."""

from __future__ import annotations

from aiforge.errors import Unavailable
from aiforge.export.plan import disk_bytes
from aiforge.modeling import bases
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.catalog import read_catalog
from aiforge.schemas.runs import Resources
from aiforge.settings import Settings
from aiforge.storage import Storage

GIB = 1 << 30

# Reading files is bound by the network and the disk: it may run beside anything.
SYNC = Resources(cpus=0, memory_bytes=GIB // 2)
GENERATE = Resources(cpus=1, memory_bytes=GIB)

WORKER_OVERHEAD_BYTES = GIB
"""A Python process with torch, before it has loaded a model."""

BYTES_PER_PARAMETER = 4


def require_disk(settings: Settings, storage: Storage, needed_bytes: int = 0) -> None:
    """Refuse work that the disk has no room for.

    Raises:
        Unavailable: Less than the reserve would remain free (``disk_full``).
    """
    free = storage.free_bytes()
    if free is None or free - needed_bytes >= settings.disk_reserve_bytes:
        return
    raise Unavailable(
        f"Only {free / GIB:.1f} GiB are free under {storage.uri}; {needed_bytes / GIB:.1f} GiB are "
        f"needed and {settings.disk_reserve_bytes / GIB:.1f} GiB must remain. Delete sources or "
        "datasets, or set AIFORGE_DISK_RESERVE_BYTES lower.",
        code="disk_full",
        retryAfter=60,
        freeBytes=free,
    )


def export_resources(base: BaseModel, format: str, quantization: str | None) -> Resources:
    """What an export will occupy: some rows of the weights in memory, the files on the disk."""
    weights = weight_bytes(base)
    return Resources(
        cpus=1,
        memory_bytes=WORKER_OVERHEAD_BYTES + weights // 4,
        disk_bytes=disk_bytes(weights // BYTES_PER_PARAMETER, format, quantization or "f32"),
    )


def measure_resources(base: BaseModel, gpus: float) -> Resources:
    """What one process occupies that loads a model to measure it."""
    return Resources(
        cpus=0.0 if gpus else 1.0,
        gpus=1.0 if gpus else 0.0,
        memory_bytes=WORKER_OVERHEAD_BYTES + weight_bytes(base),
    )


def weight_bytes(base: BaseModel) -> int:
    """Memory of the base model's weights in fp32; 0 where nothing is known of their number."""
    if base.is_local:
        return sum(file.stat().st_size for file in bases.weight_files(base))
    entry = read_catalog().find(base.name) or read_catalog().find(base.location)
    return entry.parameters * BYTES_PER_PARAMETER if entry else 0
