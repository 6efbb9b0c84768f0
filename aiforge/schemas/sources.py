"""Data sources: git repositories, local directories and uploads."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator

from aiforge.schemas.common import Request, Timestamp, Wire

SourceType = Literal["git", "local", "upload"]
Pattern = Annotated[str, Field(min_length=1, max_length=500)]
SyncSeconds = Annotated[int, Field(ge=60, le=366 * 86_400)]
"""Seconds between a source's syncs."""


class SourceStatus(StrEnum):
    """Where a source is in its life."""

    SYNCING = "syncing"
    SYNCED = "synced"
    FAILED = "failed"


class GitSourceRequest(Request):
    """``POST /data-sources`` with a JSON body: a repository or a directory to read."""

    type: Literal["git", "local"] = "git"
    url: str = Field(min_length=1, max_length=2000)
    branch: str | None = Field(default=None, max_length=255)
    name: str | None = Field(default=None, min_length=1, max_length=200)
    include_patterns: list[Pattern] = Field(default_factory=list, max_length=500)
    exclude_patterns: list[Pattern] = Field(default_factory=list, max_length=500)
    sync_seconds: SyncSeconds | None = None
    """How long after a sync it is synced again by itself; as the platform's settings say when
    absent."""


class SourceUpdate(Request):
    """``PATCH /data-sources/:id``."""

    sync_seconds: SyncSeconds | None
    """As in ``GitSourceRequest``."""


class UploadFields(Request):
    """The text fields of ``POST /data-sources`` with uploaded files."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    include_patterns: list[Pattern] = Field(default_factory=list, max_length=500)
    exclude_patterns: list[Pattern] = Field(default_factory=list, max_length=500)

    @field_validator("include_patterns", "exclude_patterns", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A form has one text for all patterns: separated by commas or line breaks."""
        if not isinstance(value, str):
            return value
        return [part.strip() for part in re.split(r"[,\n]", value) if part.strip()]


class SourceCreated(Wire):
    """The source and the run that reads it."""

    source_id: str
    parsing_job_id: str


class SyncStarted(Wire):
    """The run that reads the source again."""

    job_id: str
    message: str


class SourceCommit(Wire):
    """One commit of a repository."""

    id: str
    at: Timestamp
    subject: str


class SourceHistory(Wire):
    """Where the last sync of a repository stands among its commits.

    ``commit_count`` are those since ``previous_commit``, ``None`` where that is unknown or nothing
    was read before; ``commits`` names the newest 100 of them. ``rewritten`` says that the earlier
    commit is no ancestor any more.
    """

    commit: str
    branch: str
    previous_commit: str | None = None
    commit_count: int | None = None
    commits: list[SourceCommit] = Field(default_factory=list)
    rewritten: bool = False


class Source(Wire):
    """One data source; ``revision`` is the commit (or content hash) that was read last.

    ``sync_seconds`` is how long after a sync it is synced again by itself; ``None`` is as the
    platform's settings say. After a failure the time doubles with each further one, up to a day.
    """

    id: str
    name: str
    type: SourceType
    status: SourceStatus
    url: str | None = None
    branch: str | None = None
    include_patterns: list[str] = Field(default_factory=list)
    exclude_patterns: list[str] = Field(default_factory=list)
    file_count: int = 0
    skipped_count: int = 0
    total_bytes: int = 0
    revision: str | None = None
    history: SourceHistory | None = None
    created_at: Timestamp
    last_synced_at: Timestamp | None = None
    sync_seconds: int | None = None
    progress: float = 0.0
    error: str | None = None
    error_code: str | None = None


class SourceFile(Wire):
    """One file of a source, read or skipped; ``skipped`` is the reason."""

    path: str
    size: int
    language: str | None = None
    blob: str | None = None
    skipped: str | None = None
