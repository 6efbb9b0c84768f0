"""The file that a model is served from: its newest export, on this machine's disk."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from aiforge.errors import Conflict, Failure, NotFound
from aiforge.modeling.gguf_vocabulary import GgufVocabulary
from aiforge.schemas.exports import Export, ExportStatus
from aiforge.schemas.models import Model
from aiforge.services import copies
from aiforge.settings import Settings
from aiforge.state import exports
from aiforge.state.access import State
from aiforge.storage import Storage, export_dir

_BLOCK = 1 << 20

SUSPECTED_FILE = "suspected"
"""Beside the files of an export that was once read and was not what it should be."""


@dataclass(frozen=True)
class ExportedFile:
    """One exported GGUF; ``path`` is on this machine."""

    export: Export
    path: Path
    size: int
    sha256: str
    storage: Storage
    """Where it comes from."""

    @cached_property
    def template(self) -> str:
        """The chat template that it embeds."""
        with GgufVocabulary(self.path) as model:
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
        with self.path.open("rb") as stream:
            if _sha256(stream) == self.sha256:
                return
        if self.storage.is_local:
            raise _damaged(self.storage, self.path.name, self.export)
        self.path.unlink(missing_ok=True)
        raise Failure(
            f"This machine's copy of {self.export.export_id} was damaged and is gone; try again, "
            "and it is fetched anew.",
            code="export_damaged",
            exportId=self.export.export_id,
        )


def is_whole(storage: Storage, export: Export) -> bool:
    """Whether the files of a completed export are there, each as long as it was.

    Where a reader found another content, whether their content is right too; if it is, the reader
    was mistaken, and that is forgotten.
    """
    directory = export_dir(export.export_id)
    sizes = {path.rpartition("/")[2]: size for path, size, _ in storage.entries(directory)}
    if any(sizes.get(file.name) != file.size for file in export.files):
        return False
    if SUSPECTED_FILE not in sizes:
        return True
    for file in export.files:
        with storage.open_input(f"{directory}/{file.name}") as stream:
            if _sha256(stream) != file.sha256:
                return False
    storage.delete(f"{directory}/{SUSPECTED_FILE}")
    return True


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

    What is fetched from an object store is compared with what was exported (``export_damaged``),
    and needs room on this machine's disk (``disk_full``).
    """
    size, sha256 = export.size or 0, export.sha256 or ""
    name = next(file.name for file in export.files if file.sha256 == sha256)
    stored = f"{export_dir(export.export_id)}/{name}"
    if storage.is_local:
        path = Path(storage.full(stored))
    else:
        path = _copy(storage, settings, stored, export)
    if not path.exists():
        raise _gone(name, export)
    return ExportedFile(export, path, size, sha256, storage)


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


def _copy(storage: Storage, settings: Settings, stored: str, export: Export) -> Path:
    """This machine's copy of a file on an object store, fetched where it is not there."""
    sha256 = export.sha256 or ""
    path = copies.find(settings, sha256)
    if path is not None:
        return path
    if not storage.exists(stored):
        raise _gone(stored.rpartition("/")[2], export)
    with copies.fetched(settings, sha256, export.size or 0) as (partial, path):
        storage.download(stored, partial)
        with partial.open("rb") as stream:
            if _sha256(stream) != sha256:
                raise _damaged(storage, stored.rpartition("/")[2], export)
    return path


def _gone(name: str, export: Export) -> NotFound:
    return NotFound(
        f"{name} of {export.export_id} is gone from the storage; {_remedy(export)}.",
        code="file_not_found",
    )


def _damaged(storage: Storage, name: str, export: Export) -> Failure:
    """The error for a file whose content is another, which the next request for it looks into."""
    with contextlib.suppress(OSError):
        storage.write_bytes(f"{export_dir(export.export_id)}/{SUSPECTED_FILE}", b"")
    return Failure(
        f"{name} of {export.export_id} has another content than when it was exported; "
        f"{_remedy(export)}.",
        code="export_damaged",
        exportId=export.export_id,
    )


def _remedy(export: Export) -> str:
    kind = f" --quantization {export.quantization}" if export.quantization else ""
    return (
        f"export it again, which makes it anew: aiforge export create {export.job_id}{kind}, or "
        f"POST /jobs/{export.job_id}/export with the same quantization"
    )


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
