"""The file that a model is served from: its newest export, on this machine's disk."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from aiforge.errors import Conflict, Failure, NotFound
from aiforge.modeling.llama_cpp import GgufModel
from aiforge.schemas.exports import Export, ExportStatus
from aiforge.schemas.models import Model
from aiforge.settings import Settings
from aiforge.state import exports
from aiforge.state.access import State
from aiforge.storage import Storage, export_dir


@dataclass(frozen=True)
class ExportedFile:
    """One exported GGUF; ``path`` is on this machine."""

    export: Export
    path: Path
    size: int
    sha256: str
    is_copy: bool = False
    """Of what lies on an object store."""

    @cached_property
    def template(self) -> str:
        """The chat template that it embeds."""
        with GgufModel(self.path, vocabulary_only=True) as model:
            return model.chat_template or ""

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says about it."""
        return {
            "exportId": self.export.export_id,
            "quantization": self.export.quantization,
            "sha256": self.sha256,
            "size": self.size,
        }

    def open(self) -> IO[bytes]:
        """A stream of its bytes."""
        return self.path.open("rb")

    def require_intact(self) -> None:
        """Refuse a file that is not what was exported; a damaged copy is taken away.

        Raises:
            Failure: Its content is another by now (``export_damaged``).
        """
        if _sha256(self.path) == self.sha256:
            return
        remedy = _remedy(self.export)
        if self.is_copy:
            self.path.unlink(missing_ok=True)
            remedy = "it was a copy, which is fetched anew at the next try"
        raise Failure(
            f"{self.path.name} of {self.export.export_id} has another content than when it was "
            f"exported; {remedy}.",
            code="export_damaged",
            exportId=self.export.export_id,
        )


def newest_file(
    state: State, storage: Storage, settings: Settings, model: Model
) -> ExportedFile | None:
    """The newest completed GGUF of a model, fetched where the storage is elsewhere.

    Raises:
        NotFound: The storage has lost it (``file_not_found``).
    """
    export = state.call_sync(exports.newest, model.job_id)
    return None if export is None else local_file(storage, settings, export)


def file_of(
    state: State, storage: Storage, settings: Settings, model: Model, export_id: str | None
) -> ExportedFile | None:
    """The GGUF of a certain export, else the newest; ``None`` while it is being made.

    Raises:
        Conflict: Nobody makes it, or it failed (``model_not_exported``).
        NotFound: The storage has lost it (``file_not_found``).
    """
    if export_id is None:
        file = newest_file(state, storage, settings, model)
        if file is None:
            require_under_way(state, model)
        return file
    export = state.call_sync(exports.get, export_id)
    if export.status is ExportStatus.FAILED:
        raise Conflict(
            f"{model.name} has no exported file: {export.error}",
            code="model_not_exported",
            jobId=model.job_id,
        )
    if export.status is ExportStatus.RUNNING:
        return None
    return local_file(storage, settings, export)


def local_file(storage: Storage, settings: Settings, export: Export) -> ExportedFile:
    """The main file of a completed export on this machine; raises as ``newest_file``.

    What is fetched from an object store is compared with what was exported (``export_damaged``).
    """
    size, sha256 = export.size or 0, export.sha256 or ""
    name = next(file.name for file in export.files if file.sha256 == sha256)
    stored = f"{export_dir(export.export_id)}/{name}"
    if storage.is_local:
        path = Path(storage.full(stored))
    else:
        path = copy_path(settings, sha256)
        if not path.exists():
            _fetch(storage, stored, path, export)
    if not path.exists():
        raise NotFound(
            f"{name} of {export.export_id} is gone from the storage; {_remedy(export)}.",
            code="file_not_found",
        )
    return ExportedFile(export, path, size, sha256, is_copy=not storage.is_local)


def copy_path(settings: Settings, sha256: str) -> Path:
    """Where this machine keeps its copy of a file that lies on an object store."""
    return settings.home / "cache" / "gguf" / f"{sha256}.gguf"


def require_under_way(state: State, model: Model) -> None:
    """Refuse to wait for an export that nobody makes.

    Raises:
        Conflict: None is queued, or the last one failed (``model_not_exported``).
    """
    last = state.call_sync(exports.page, model.job_id, 1, 0).items
    if last and last[0].status is ExportStatus.RUNNING:
        return
    reason = f": {last[0].error}" if last and last[0].error else ""
    raise Conflict(
        f"{model.name} has no exported file{reason.rstrip('.')}; export it first: "
        f"aiforge model export {model.id}, or POST /jobs/{model.job_id}/export.",
        code="model_not_exported",
        jobId=model.job_id,
    )


def _fetch(storage: Storage, stored: str, path: Path, export: Export) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        storage.download(stored, partial)
        if _sha256(partial) != export.sha256:
            raise Failure(
                f"{storage.uri_of(stored)} has another content than when it was exported; "
                f"{_remedy(export)}.",
                code="export_damaged",
            )
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _remedy(export: Export) -> str:
    # What is there already is not exported again.
    return (
        f"delete it (DELETE /jobs/{export.job_id}/exports/{export.export_id}) or choose another "
        "quantization, and export the job again"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
