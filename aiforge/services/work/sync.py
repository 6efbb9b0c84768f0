"""Runs of kind ``sync``: read a source into a snapshot."""

from __future__ import annotations

from typing import Any

from aiforge.schemas.sources import Source
from aiforge.services.context import RunContext
from aiforge.settings import Settings
from aiforge.sources.limits import Limits
from aiforge.sources.sync import Credentials, SyncResult, sync_git, sync_local, sync_upload
from aiforge.state import sources


def execute(context: RunContext) -> dict[str, Any]:
    """Read the run's source; what was read and what was skipped stands in the snapshot."""
    source = context.state.call_sync(sources.get, context.run.resource_id)
    context.log(f"Reading {source.url or source.name}")
    result = _read(context, source)
    if result.history and result.history.commit_count:
        context.log(f"{result.history.commit_count} commits since the last sync")
    context.log(
        f"Read {result.file_count} files ({result.total_bytes} bytes), "
        f"skipped {result.skipped_count}"
    )
    return sources.SyncOutcome(
        revision=result.revision,
        file_count=result.file_count,
        skipped_count=result.skipped_count,
        total_bytes=result.total_bytes,
        snapshot=result.snapshot,
        history=result.history,
    ).model_dump(by_alias=False)


def _read(context: RunContext, source: Source) -> SyncResult:
    include, exclude = source.include_patterns, source.exclude_patterns
    limits = Limits()
    if source.type == "upload":
        return sync_upload(
            context.storage,
            source.id,
            include=include,
            exclude=exclude,
            limits=limits,
            progress=context.progress,
        )
    if source.type == "local":
        return sync_local(
            context.storage,
            source.id,
            source.url or "",
            branch=source.branch,
            include=include,
            exclude=exclude,
            allowed_roots=context.settings.source_roots,
            limits=limits,
            progress=context.progress,
        )
    return sync_git(
        context.storage,
        source.id,
        source.url or "",
        branch=source.branch,
        include=include,
        exclude=exclude,
        allowed_roots=context.settings.source_roots,
        allowed_hosts=context.settings.source_hosts,
        credentials=_credentials(context.settings),
        limits=limits,
        progress=context.progress,
    )


def _credentials(settings: Settings) -> Credentials:
    return Credentials(
        ssh_key=settings.git_ssh_key,
        known_hosts=settings.git_known_hosts,
        tokens=settings.git_tokens,
    )
