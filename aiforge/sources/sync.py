"""Bring a source up to date: git repository, local directory or upload → snapshot."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiforge.errors import Failure, InvalidInput
from aiforge.schemas.sources import SourceHistory
from aiforge.settings import get_settings
from aiforge.sources import directory, snapshot, uploads
from aiforge.sources.commands import GitCommands
from aiforge.sources.credentials import Credentials
from aiforge.sources.filters import Filters
from aiforge.sources.git import Mirror
from aiforge.sources.history import History
from aiforge.sources.limits import Deadline, Limits, Progress
from aiforge.sources.remote import Remote, check_branch, git_directory, parse_remote
from aiforge.sources.snapshot import Entry, Manifest, list_files, read_manifest
from aiforge.sources.writer import Builder
from aiforge.storage import Storage, git_mirror, latest_snapshot, snapshot_dir, source_dir

__all__ = [
    "Credentials",
    "Limits",
    "Progress",
    "SyncResult",
    "list_files",
    "read_manifest",
    "sync_git",
    "sync_local",
    "sync_upload",
]


@dataclass(frozen=True)
class SyncResult:
    """What a sync left behind; ``snapshot`` is a directory relative to the storage."""

    revision: str
    file_count: int
    skipped_count: int
    total_bytes: int
    snapshot: str
    history: SourceHistory | None = None


def no_progress(_fraction: float, _stage: str) -> None:
    """Report progress to nobody."""


def sync_git(
    storage: Storage,
    source_id: str,
    url: str,
    *,
    branch: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allowed_roots: Sequence[Path] = (),
    allowed_hosts: Collection[str] = (),
    credentials: Credentials | None = None,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> SyncResult:
    """Read the newest commit of a branch of a repository.

    The commit's snapshot is reused where there is one, and rows of the snapshot before it
    where blobs did not change. A first sync that fails leaves nothing behind.

    Args:
        branch: The remote's default branch when absent.
        allowed_roots: Directories below which local repositories may lie.
        allowed_hosts: Hosts whose private addresses are accepted.
        credentials: What opens private repositories.

    Raises:
        InvalidInput: ``url_invalid``, ``url_not_allowed``, ``url_has_credentials``,
            ``path_not_allowed``, ``branch_invalid``, ``branch_not_found``, ``pattern_invalid``.
        Failure: ``source_unreachable``, ``source_unsafe``, ``source_empty``,
            ``source_no_files``, ``source_too_large``, ``source_too_many_files``,
            ``source_timeout``, ``disk_full``, ``no_git``, ``ssh_key_unreadable``,
            ``token_missing``.
    """
    limits = limits or Limits()
    filters = Filters(include, exclude, limits)
    remote = parse_remote(url, allowed_roots, allowed_hosts)
    if branch is not None:
        check_branch(branch)
    if remote.protocol == "file":
        remote = _local_repository(remote, url, allowed_roots)
    deadline = Deadline(limits.max_seconds)
    place = _mirror_directory(storage, source_id)
    with (
        _leaving_nothing(storage, source_id, source_dir(source_id), place),
        GitCommands(place, deadline, credentials) as git,
    ):
        mirror = Mirror(place, git, limits, url)
        progress(0.0, "asking for the newest commit")
        head = mirror.head(remote, branch)
        if reused := _reuse(storage, source_id, f"{head.commit}-{filters.digest}"):
            return reused
        commit = mirror.fetch(remote, head, lambda part: progress(0.5 * part, "fetching"))
        log = History(git)
        history = log.since(commit, head.branch, _previous_commit(storage, source_id))
        builder = Builder(
            storage,
            source_id,
            Manifest(
                revision=f"{commit}-{filters.digest}",
                commit=commit,
                branch=head.branch,
                history=history,
            ),
            read=lambda entries: mirror.read(entry.blob for entry in entries),
            previous=snapshot.latest(storage, source_id),
            filters=filters,
            limits=limits,
            deadline=deadline,
            progress=lambda part, stage: progress(0.5 + 0.5 * part, stage),
        )
        return _finish(
            storage, source_id, builder.build(mirror.entries(commit), log.changes(commit))
        )


def sync_local(
    storage: Storage,
    source_id: str,
    url: str,
    *,
    branch: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allowed_roots: Sequence[Path] = (),
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> SyncResult:
    """Read a directory below the allowed roots; one that is a git repository by its commits.

    Raises:
        InvalidInput: ``path_not_allowed``, ``url_invalid``, ``branch_not_found``.
        Failure: As ``sync_git``.
    """
    limits = limits or Limits()
    remote = parse_remote(url, allowed_roots)
    if remote.protocol != "file":
        raise InvalidInput(
            f"{url!r} is no local directory. Give its absolute path, or use the type git.",
            code="url_invalid",
            field="url",
        )
    root = Path(remote.address)
    if not root.is_dir():
        raise _unreachable(url, "there is no such directory")
    if git_directory(root, allowed_roots):
        return sync_git(
            storage,
            source_id,
            url,
            branch=branch,
            include=include,
            exclude=exclude,
            allowed_roots=allowed_roots,
            limits=limits,
            progress=progress,
        )
    filters = Filters(include, exclude, limits)
    deadline = Deadline(limits.max_seconds)
    progress(0.0, "listing files")
    entries = list(directory.walk(root, filters, limits, deadline))
    with _leaving_nothing(storage, source_id, source_dir(source_id)):
        return _sync_entries(
            storage,
            source_id,
            entries,
            read=lambda wanted: (directory.read_again(root, entry) for entry in wanted),
            filters=filters,
            limits=limits,
            deadline=deadline,
            progress=progress,
        )


def sync_upload(
    storage: Storage,
    source_id: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> SyncResult:
    """Read what was uploaded for a source.

    Raises:
        InvalidInput: ``pattern_invalid``.
        Failure: ``source_empty``, ``source_no_files``, ``source_too_large``, ``source_timeout``.
    """
    limits = limits or Limits()
    received = uploads.Received(storage, source_id)
    with _leaving_nothing(storage, source_id, snapshot_dir(source_id, "")):
        return _sync_entries(
            storage,
            source_id,
            received.entries,
            read=received.read,
            filters=Filters(include, exclude, limits),
            limits=limits,
            deadline=Deadline(limits.max_seconds),
            progress=progress,
        )


def _sync_entries(
    storage: Storage,
    source_id: str,
    entries: Sequence[Entry],
    *,
    read: snapshot.Reader,
    filters: Filters,
    limits: Limits,
    deadline: Deadline,
    progress: Progress,
) -> SyncResult:
    """Sync files that have no commit: their paths and contents name the revision."""
    digest = hashlib.sha1(usedforsecurity=False)
    for entry in sorted(entries, key=lambda entry: entry.path):
        digest.update(f"{entry.path}\0{entry.blob}\0{entry.skipped}\n".encode(errors="replace"))
    revision = f"{digest.hexdigest()}-{filters.digest}"
    if reused := _reuse(storage, source_id, revision):
        return reused
    builder = Builder(
        storage,
        source_id,
        Manifest(revision=revision),
        read=read,
        previous=snapshot.latest(storage, source_id),
        filters=filters,
        limits=limits,
        deadline=deadline,
        progress=progress,
    )
    return _finish(storage, source_id, builder.build(entries))


def _previous_commit(storage: Storage, source_id: str) -> str | None:
    """The commit that was read last, whatever the patterns were."""
    latest = snapshot.latest_read(storage, source_id)
    return read_manifest(storage, latest).commit if latest else None


def _reuse(storage: Storage, source_id: str, revision: str) -> SyncResult | None:
    if not snapshot.exists(storage, source_id, revision):
        return None
    return _finish(storage, source_id, read_manifest(storage, snapshot_dir(source_id, revision)))


def _finish(storage: Storage, source_id: str, manifest: Manifest) -> SyncResult:
    snapshot.mark_latest(storage, source_id, manifest.revision)
    return SyncResult(
        manifest.revision,
        manifest.file_count,
        manifest.skipped_count,
        manifest.total_bytes,
        snapshot_dir(source_id, manifest.revision),
        manifest.history,
    )


@contextlib.contextmanager
def _leaving_nothing(
    storage: Storage, source_id: str, made: str, mirror: Path | None = None
) -> Iterator[None]:
    """Remove what a source's very first sync has made if it fails."""
    first = not storage.exists(latest_snapshot(source_id))
    try:
        yield
    except BaseException:
        if first:
            if mirror is not None:
                shutil.rmtree(mirror, ignore_errors=True)
                with contextlib.suppress(OSError):
                    mirror.parent.rmdir()
            storage.delete(made.rstrip("/"))
        raise


def _mirror_directory(storage: Storage, source_id: str) -> Path:
    """Git needs a local disk; with an object store the mirror is a cache of this machine."""
    if storage.is_local:
        return Path(storage.full(git_mirror(source_id)))
    return get_settings().home / "cache" / git_mirror(source_id)


def _local_repository(remote: Remote, url: str, allowed_roots: Sequence[Path]) -> Remote:
    root = Path(remote.address)
    if not root.is_dir():
        raise _unreachable(url, "there is no such directory")
    repository = git_directory(root, allowed_roots)
    if repository is None:
        raise _unreachable(url, "it is not the root of a git repository")
    return Remote("file", str(repository))


def _unreachable(url: str, reason: str) -> Failure:
    return Failure(f"Cannot read {url}: {reason}. Check the address.", code="source_unreachable")
