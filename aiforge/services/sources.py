"""Data sources."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from aiforge.schemas.common import Listing, Message, Page, new_id
from aiforge.schemas.sources import (
    GitSourceRequest,
    Source,
    SourceCreated,
    SourceFile,
    SourceUpdate,
    SyncStarted,
)
from aiforge.services import preflight
from aiforge.services.context import Services
from aiforge.sources.remote import parse_remote
from aiforge.state import removals, sources
from aiforge.state.sources import NewSource, Snapshot
from aiforge.state.store import RequestKey
from aiforge.storage import Storage, source_dir

Receive = Callable[[Storage, str], None]
"""Stores the files of an upload under ``storage.upload_dir(source_id)``, checking each."""


async def create_git(
    services: Services, request: GitSourceRequest, key: RequestKey | None = None
) -> SourceCreated:
    """Register a repository or a local directory and queue the run that reads it.

    Args:
        key: Of an ``Idempotency-Key``; the same one again returns the same source.

    Raises:
        InvalidInput: The address is not one that may be read.
        Conflict: The key was used for another request.
        Unavailable: The disk is full.
    """
    settings = services.settings
    parse_remote(request.url, settings.source_roots, settings.source_hosts)
    preflight.require_disk(services.settings, services.storage)
    new = NewSource(
        id=new_id("src"),
        name=request.name or _name_of(request.url),
        type=request.type,
        url=request.url,
        branch=request.branch,
        include_patterns=request.include_patterns,
        exclude_patterns=request.exclude_patterns,
        sync_seconds=request.sync_seconds,
    )
    return await services.state.once(key).call(sources.create, new, preflight.SYNC)


async def create_upload(
    services: Services,
    name: str,
    receive: Receive,
    *,
    include_patterns: Sequence[str] = (),
    exclude_patterns: Sequence[str] = (),
    key: RequestKey | None = None,
) -> SourceCreated:
    """Store uploaded files and queue the run that reads them.

    Args:
        receive: Stores the files; runs in a thread. Nothing stays behind where it fails.
        key: Of an ``Idempotency-Key``; the same one again returns the same source.

    Raises:
        InvalidInput: What ``receive`` refuses.
        Conflict: The key was used for another request.
        Unavailable: The disk is full.
    """
    preflight.require_disk(services.settings, services.storage)
    new = NewSource(
        id=new_id("src"),
        name=name,
        type="upload",
        include_patterns=list(include_patterns),
        exclude_patterns=list(exclude_patterns),
    )
    created: SourceCreated | None = None
    try:
        await asyncio.to_thread(receive, services.storage, new.id)
        created = await services.state.once(key).call(sources.create, new, preflight.SYNC)
    finally:
        # A repeated request got the first one's source; its own files are not needed.
        if created is None or created.source_id != new.id:
            await asyncio.to_thread(services.storage.delete, source_dir(new.id))
    return created


def _name_of(url: str) -> str:
    path = urlsplit(url).path if "://" in url else url.rpartition(":")[2]
    return PurePosixPath(path).name.removesuffix(".git")[:200] or "source"


async def list_page(services: Services, page: Page) -> Listing[Source]:
    """Sources, newest first."""
    return await services.state.call(sources.page, page.limit, page.offset, services.projects)


async def get(services: Services, source_id: str) -> Source:
    """One source, or ``NotFound``."""
    return await services.state.call(sources.get, source_id)


async def files(services: Services, source_id: str, page: Page) -> Listing[SourceFile]:
    """The files that the last sync read or skipped; none before the first one has ended."""
    snapshot = await services.state.call(sources.snapshot, source_id)
    if snapshot is None:
        return Listing[SourceFile](items=[], total=0)
    return await asyncio.to_thread(_files, services.storage, snapshot, page)


def _files(storage: Storage, snapshot: Snapshot, page: Page) -> Listing[SourceFile]:
    from aiforge.sources.sync import list_files

    found = list_files(storage, snapshot.path)
    items = list(islice(found, page.offset, page.offset + page.limit))
    return Listing[SourceFile](items=items, total=len(found))


async def sync(services: Services, source_id: str, key: RequestKey | None = None) -> SyncStarted:
    """Queue a run that reads a source again.

    Raises:
        NotFound: There is no such source.
        Conflict: It is being read already.
        Unavailable: The disk is full.
    """
    preflight.require_disk(services.settings, services.storage)
    run = await services.state.once(key).call(sources.sync, source_id, preflight.SYNC)
    return SyncStarted(job_id=run.id, message="Sync started")


async def update(
    services: Services, source_id: str, request: SourceUpdate, key: RequestKey | None = None
) -> Source:
    """Change how often a source is read again by itself.

    Raises:
        NotFound: There is no such source.
        InvalidInput: It is an upload.
    """
    return await services.state.once(key).call(sources.update, source_id, request.sync_seconds)


async def delete(services: Services, source_id: str, key: RequestKey | None = None) -> Message:
    """Delete a source and its files; datasets built from it stay.

    Raises:
        NotFound: There is no such source.
        Conflict: It is being synced, or a dataset is being built from it.
    """
    await services.state.once(key).call(removals.delete_source, source_id)
    await asyncio.to_thread(services.storage.delete, source_dir(source_id))
    return Message(message="Deleted")
