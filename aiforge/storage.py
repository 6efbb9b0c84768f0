"""Where everything lies under the storage URI; the only module that builds such a path."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow.fs as pafs

from aiforge import transfers
from aiforge.errors import InvalidInput, NotFound

PIECE_BYTES = 1 << 20

DECLARING = frozenset(
    {"manifest.json", "parity.json", "training.json", "latest.json", "pairs.json", "blobs.arrow"}
)
"""Files that are written last and say that what lies beside them is whole."""


class Storage:
    """Files of the platform on a local directory or an S3 bucket.

    Paths given to methods are relative to the root and use ``/``.

    Args:
        uri: A directory, ``file://…`` or ``s3://bucket/prefix``.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        if "://" not in uri:
            self.uri = str(Path(uri).expanduser().resolve())
        try:
            self.filesystem, self.root = pafs.FileSystem.from_uri(self.uri)
        except (ValueError, OSError) as error:
            raise InvalidInput(
                f"Storage URI {uri!r} cannot be opened: {error}", code="storage_uri_invalid"
            ) from error

    @property
    def is_local(self) -> bool:
        """Whether files can be reached by a plain path of this machine."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def full(self, path: str) -> str:
        """Path on ``self.filesystem``."""
        return f"{self.root}/{path}" if path else self.root

    def uri_of(self, path: str) -> str:
        """Address of a path that Ray, pyarrow and people understand."""
        return self.full(path) if self.is_local else f"{self.uri}/{path}"

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""
        return bool(self.filesystem.get_file_info(self.full(path)).type != pafs.FileType.NotFound)

    def size(self, path: str) -> int:
        """Bytes below a path; 0 where there is nothing."""
        return sum(info.size or 0 for info in self._files(path))

    def names(self, path: str) -> list[str]:
        """Names directly below a directory, sorted; empty where there is none."""
        selector = pafs.FileSelector(self.full(path), allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def read_bytes(self, path: str) -> bytes:
        """A whole file.

        Raises:
            NotFound: There is no such file.
        """
        try:
            with self.filesystem.open_input_stream(self.full(path)) as stream:
                return bytes(stream.read())
        except FileNotFoundError as error:
            raise NotFound(f"{self.uri_of(path)} does not exist.", code="file_not_found") from error

    def read_json(self, path: str) -> Any:
        """A JSON file, parsed."""
        return json.loads(self.read_bytes(path))

    def open_input(self, path: str) -> IO[bytes]:
        """A seekable binary stream.

        Raises:
            NotFound: There is no such file.
        """
        try:
            return self.filesystem.open_input_file(self.full(path))  # type: ignore[no-any-return]
        except FileNotFoundError as error:
            raise NotFound(f"{self.uri_of(path)} does not exist.", code="file_not_found") from error

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file so that a reader sees all of it or nothing."""
        full = self.full(path)
        if self.is_local:
            target = Path(full)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
        else:
            with self.filesystem.open_output_stream(full) as stream:
                stream.write(data)

    def write_json(self, path: str, value: Any) -> None:
        """Write a JSON file so that a reader sees all of it or nothing."""
        self.write_bytes(path, json.dumps(value, indent=2, sort_keys=True).encode())

    def upload(self, local: Path, path: str) -> None:
        """Publish a local file or directory; on a local disk it appears as a whole.

        On an object store, what an interrupted call has sent is not sent again.
        """
        full = self.full(path)
        if self.is_local:
            target = Path(full)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
            (shutil.copytree if local.is_dir() else shutil.copy2)(local, partial)
            if target.is_dir():
                shutil.rmtree(target)
            partial.replace(target)
        else:
            transfers.send(self.filesystem, local, full)

    def adopt(self, local: Path, path: str) -> None:
        """As ``upload``, but the local directory is given away: on the same disk it is moved."""
        if not self.is_local:
            self.upload(local, path)
            return
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target)
        for file in (path for path in local.rglob("*") if path.is_file()):
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        try:
            local.replace(target)
        except OSError:
            self.upload(local, path)

    @contextmanager
    def work_dir(self, run_id: str) -> Iterator[Path]:
        """An empty local directory for what a run makes, on the storage's disk if it has one.

        It goes with the block; what a killed attempt left there goes when the next one begins.
        """
        self.clear_work(run_id)
        directory = self._work(run_id)
        directory.mkdir(parents=True)
        try:
            yield directory
        finally:
            self.clear_work(run_id)

    def clear_work(self, run_id: str) -> None:
        """Remove what a run that was killed left in its ``work_dir`` on this machine."""
        shutil.rmtree(self._work(run_id), ignore_errors=True)

    def _work(self, run_id: str) -> Path:
        root = Path(self.full("work")) if self.is_local else Path(tempfile.gettempdir())
        return root / f"aiforge-{run_id}"

    def pieces(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a file from ``start`` up to, not including, ``end``; opened at once.

        Raises:
            NotFound: There is no such file.
        """
        stream = self.open_input(path)

        def read() -> Iterator[bytes]:
            with stream:
                stream.seek(start)
                left = end - start
                while left > 0 and (piece := stream.read(min(PIECE_BYTES, left))):
                    left -= len(piece)
                    yield piece

        return read()

    def download(self, path: str, local: Path) -> Path:
        """Copy a file or directory to a local path and return that path.

        From an object store, what an interrupted call has fetched is not fetched again.

        Raises:
            NotFound: There is no such file.
            Failure: A large file is not what was uploaded (``transfer_damaged``).
        """
        local.parent.mkdir(parents=True, exist_ok=True)
        if not self.exists(path):
            raise NotFound(f"{self.uri_of(path)} does not exist.", code="file_not_found")
        if self.is_local:
            source = Path(self.full(path))
            if source.is_dir():
                shutil.copytree(source, local, dirs_exist_ok=True)
            else:
                shutil.copy2(source, local)
        else:
            transfers.fetch(self.filesystem, self.full(path), local)
        return local

    def delete(self, path: str) -> None:
        """Remove a file or a directory; nothing happens where there is none."""
        kind = self.filesystem.get_file_info(self.full(path)).type
        if kind == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.full(path))
        elif kind == pafs.FileType.File:
            self.filesystem.delete_file(self.full(path))

    def retire(self, path: str) -> None:
        """As ``delete``, but what a crash leaves of it is never taken for the whole.

        On a local disk it loses its name first; on an object store those files go first by which
        a reader knows that the others are there.
        """
        full = self.full(path)
        if self.is_local:
            target = Path(full)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
            if target.name.endswith(".partial"):
                partial = target
            else:
                target.replace(partial)
            self.delete(str(partial.relative_to(self.root)))
            return
        below = [entry for entry, _, _ in self.entries(path)]
        for entry in sorted(below, key=lambda entry: entry.rpartition("/")[2] not in DECLARING):
            self.filesystem.delete_file(self.full(entry))
        self.delete(path)

    def entries(self, path: str = "") -> Iterator[tuple[str, int, float]]:
        """Every file below a path, or it itself: its path, bytes, and when it was written.

        The last is in seconds of the epoch.
        """
        for info in self._files(path):
            relative = info.path.removeprefix(self.root).lstrip("/")
            yield relative, info.size or 0, info.mtime_ns / 1e9 if info.mtime_ns else 0.0

    def delete_stale(self, path: str, keep: Container[str], seconds: float = 86_400.0) -> None:
        """Remove files directly below a directory that are not to be kept and are that old."""
        selector = pafs.FileSelector(self.full(path), allow_not_found=True)
        for info in self.filesystem.get_file_info(selector):
            age = time.time() - info.mtime_ns / 1e9 if info.mtime_ns else 0.0
            if info.type == pafs.FileType.File and info.base_name not in keep and age > seconds:
                self.filesystem.delete_file(info.path)

    def free_bytes(self) -> int | None:
        """Free space of a local disk; ``None`` for an object store."""
        disk = self.disk()
        return None if disk is None else disk[1]

    def disk(self) -> tuple[int, int] | None:
        """Bytes of a local disk, all and free; ``None`` for an object store."""
        if not self.is_local:
            return None
        try:
            usage = shutil.disk_usage(self.root)
        except FileNotFoundError:
            # Nothing was stored yet.
            Path(self.root).mkdir(parents=True, exist_ok=True)
            usage = shutil.disk_usage(self.root)
        return usage.total, usage.free

    def _files(self, path: str) -> Iterator[pafs.FileInfo]:
        info = self.filesystem.get_file_info(self.full(path))
        if info.type == pafs.FileType.File:
            yield info
        elif info.type == pafs.FileType.Directory:
            selector = pafs.FileSelector(self.full(path), recursive=True)
            for entry in self.filesystem.get_file_info(selector):
                if entry.type == pafs.FileType.File:
                    yield entry


# The layout. Identifiers come from the platform, never from a user.


def source_dir(source_id: str) -> str:
    """Everything that a source occupies."""
    return f"sources/{source_id}"


def latest_snapshot(source_id: str) -> str:
    """JSON file that names the revision of a source that was read last."""
    return f"{source_dir(source_id)}/latest.json"


def git_mirror(source_id: str) -> str:
    """Bare clone of a git source; kept so that the next sync fetches only what is new."""
    return f"sources/{source_id}/mirror.git"


def upload_dir(source_id: str) -> str:
    """Unpacked files of an uploaded source, before they are put into a snapshot."""
    return f"sources/{source_id}/upload"


def snapshot_dir(source_id: str, revision: str) -> str:
    """Parquet files of one revision of a source: a row per file, and ``manifest.json``."""
    return f"sources/{source_id}/snapshots/{revision}"


def dataset_dir(dataset_id: str) -> str:
    """``train/*.parquet``, ``validation/*.parquet``, ``report.json``, ``preview.json``."""
    return f"datasets/{dataset_id}"


def factors_dir(key: str) -> str:
    """PiSSA factors of one base and configuration, shared by all jobs."""
    return f"cache/pissa/{key}"


def packed_dir(key: str) -> str:
    """Tokenised and packed rows of one dataset, tokenizer and length, shared by all jobs."""
    return f"cache/packed/{key}"


def teacher_dir(key: str) -> str:
    """Replies of one teacher model, a line each, shared by all datasets."""
    return f"cache/teacher/{key}"


def run_dir(run_id: str) -> str:
    """Ray Train's own directory of one run."""
    return f"runs/{run_id}"


def job_dir(job_id: str) -> str:
    """What a training job leaves behind."""
    return f"jobs/{job_id}"


def adapter_dir(job_id: str) -> str:
    """The published plain LoRA adapter of a job, in PEFT's format."""
    return f"{job_dir(job_id)}/adapter"


def model_dir(job_id: str) -> str:
    """The whole model of a job that trained every weight, in safetensors."""
    return f"{job_dir(job_id)}/model"


def train_result_file(job_id: str) -> str:
    """What a training job did, written once all else it leaves behind is there."""
    return f"{job_dir(job_id)}/training.json"


def export_dir(export_id: str) -> str:
    """The files of one export, and ``parity.json``, what was compared of them."""
    return f"exports/{export_id}"


def artifact_file(sha256: str) -> str:
    """Content of artifacts, by its hash in hexadecimal digits."""
    return f"artifacts/{sha256[:2]}/{sha256}"


def chunks_dir(source_id: str, key: str) -> str:
    """Chunks of a source's files, kept between builds; ``key`` names how they were made."""
    return f"{source_dir(source_id)}/chunks/{key}"


def pairs_dir(source_id: str, key: str) -> str:
    """Questions, answers and distractors of a source's chunks, kept between builds."""
    return f"{source_dir(source_id)}/pairs/{key}"


def build_dir(dataset_id: str) -> str:
    """What a build has finished so far; removed when the dataset is written."""
    return f"{dataset_dir(dataset_id)}/build"


def exam_file(dataset_id: str) -> str:
    """Functions that were set aside of a dataset to examine models on."""
    return f"{dataset_dir(dataset_id)}/exam.json"


def measured_dir(key: str) -> str:
    """What a model said to some tasks, a file per batch, so that none is asked twice."""
    return f"cache/measured/{key}"
