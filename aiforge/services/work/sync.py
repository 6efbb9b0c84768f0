"""Runs of kind ``sync``: read a source into a snapshot."""

from __future__ import annotations

from typing import Any

from aiforge.schemas.sources import Source
from aiforge.services.context import RunContext
from aiforge.sources.limits import Limits
from aiforge.sources.sync import SyncResult, sync_git, sync_local, sync_upload
from aiforge.state import sources


def execute(context: RunContext) -> dict[str, Any]:
    """Read the run's source; what was read and what was skipped stands in the snapshot."""
    source = context.state.call_sync(sources.get, context.run.resource_id)
    context.log(f"Reading {source.url or source.name}")
    result = _read(context, source)
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
    read = sync_git if source.type == "git" else sync_local
    return read(
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
