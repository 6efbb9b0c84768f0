"""Data sources."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiforge.client._files import Progress, plan_upload
from aiforge.client._flow import Call, Flow, Send
from aiforge.client._flows.common import (
    Page,
    decode,
    fetch,
    fetch_page,
    given,
    post,
    quoted,
    until,
)
from aiforge.client._flows.common import (
    delete as delete_at,
)
from aiforge.errors import Failure, InvalidInput
from aiforge.schemas.common import Message
from aiforge.schemas.sources import Source, SourceCreated, SourceFile, SourceStatus, SyncStarted


def create_git(
    url: str,
    *,
    branch: str | None = None,
    name: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    sync_seconds: int | None = None,
) -> Flow[Source]:
    """Register a git repository; the platform begins to read it at once.

    Args:
        url: ``https://…``, or the path of a repository that the server may read.
        branch: Branch or tag; the repository's default branch when absent.
        include: Patterns in gitignore syntax of the files to read; all when empty.
        exclude: Patterns of files to leave out.
        sync_seconds: How long after a sync it is read again by itself; as the platform's settings
            say when absent.

    Raises:
        InvalidInput: The URL is not one that the platform reads from.
    """
    return _create("git", url, branch, name, include, exclude, sync_seconds)


def create_local(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    sync_seconds: int | None = None,
) -> Flow[Source]:
    """Register a directory on the server's machine, below the roots that its operator allows."""
    place = str(Path(path).expanduser().resolve())
    return _create("local", place, None, name, include, exclude, sync_seconds)


def upload(
    paths: Iterable[str | os.PathLike[str]],
    *,
    name: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> Flow[Source]:
    """Upload files, directories, or ``.zip`` and ``.tar.gz`` archives as one source.

    Args:
        paths: What to upload; a directory travels as one archive, without ``.git`` and links.
        progress: Called with the bytes sent so far and the bytes in all.

    Raises:
        InvalidInput: A path does not exist, a pattern holds a comma, or an archive is not
            acceptable.
        Rejected: It is larger than the server takes.
    """
    with tempfile.TemporaryDirectory(prefix="aiforge-upload-") as workspace:
        files = plan_upload(paths, Path(workspace))
        form = given(
            name=name or _name_of(files),
            include_patterns=_joined(include),
            exclude_patterns=_joined(exclude),
        )
        created = yield from post(
            SourceCreated, "/data-sources", form=form, files=files, progress=progress, timeout=600.0
        )
    return (yield from get(created.source_id))


def list_(*, limit: int | None = None, offset: int | None = None) -> Flow[Page[Source]]:
    """The sources, newest first; 50 unless ``limit`` (at most 500) says otherwise."""
    return fetch_page(Source, "/data-sources", limit=limit, offset=offset)


def get(source_id: str) -> Flow[Source]:
    """One source.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(Source, f"/data-sources/{quoted(source_id)}")


def files(
    source_id: str, *, limit: int | None = None, offset: int | None = None
) -> Flow[Page[SourceFile]]:
    """What was read of a source, and what was skipped and why."""
    path = f"/data-sources/{quoted(source_id)}/files"
    return fetch_page(SourceFile, path, limit=limit, offset=offset)


def sync(source_id: str) -> Flow[Source]:
    """Read a source again.

    Raises:
        Conflict: It is being read already.
    """
    yield from post(SyncStarted, f"/data-sources/{quoted(source_id)}/sync")
    return (yield from get(source_id))


def update(source_id: str, *, sync_seconds: int | None) -> Flow[Source]:
    """Change how often a source is read again by itself.

    Args:
        sync_seconds: How long after a sync, at least 60; ``None`` for as the platform's settings
            say.

    Raises:
        InvalidInput: The time is out of range, or the source is an upload.
    """
    path = f"/data-sources/{quoted(source_id)}"
    response = yield Send(Call("PATCH", path, json={"syncSeconds": sync_seconds}))
    return decode(Source, response)


def delete(source_id: str) -> Flow[Message]:
    """Delete a source and the files that were read from it.

    Raises:
        Conflict: A dataset is being built from it.
    """
    return delete_at(Message, f"/data-sources/{quoted(source_id)}")


def wait(source_id: str, *, timeout: float | None = None, check: bool = True) -> Flow[Source]:
    """The source as soon as it has been read.

    Args:
        timeout: Seconds to wait at most; for ever when absent.
        check: Raise if reading failed.

    Raises:
        Failure: Reading failed; ``code`` and message say why.
        TimeoutError: It takes longer than ``timeout``.
    """
    source = yield from until(
        lambda: get(source_id), lambda s: s.status != SourceStatus.SYNCING, timeout, source_id
    )
    if check and source.status == SourceStatus.FAILED:
        raise Failure(
            source.error or "The source could not be read.",
            code=source.error_code,
            sourceId=source.id,
        )
    return source


def _create(
    kind: str,
    url: str,
    branch: str | None,
    name: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    sync_seconds: int | None,
) -> Flow[Source]:
    body = given(
        type=kind,
        url=url,
        branch=branch,
        name=name,
        include_patterns=list(include),
        exclude_patterns=list(exclude),
        sync_seconds=sync_seconds,
    )
    created = yield from post(SourceCreated, "/data-sources", json=body)
    return (yield from get(created.source_id))


def _joined(patterns: Sequence[str]) -> str | None:
    """Patterns as a form sends them, which separates them by commas and line breaks."""
    for pattern in patterns:
        if "," in pattern or "\n" in pattern:
            raise InvalidInput(
                f"The pattern {pattern!r} holds a comma or line break; write a ? there.",
                code="bad_pattern",
            )
    return "\n".join(patterns) or None


def _name_of(files: Sequence[tuple[str, Path]]) -> str:
    first = files[0][0].removesuffix(".tar.gz").removesuffix(".zip")
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"
