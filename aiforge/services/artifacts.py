"""Artifacts: charts, reports and logs that runs and missions leave for people."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aiforge.errors import InvalidInput
from aiforge.redaction import redact
from aiforge.schemas.artifacts import Artifact, ArtifactType
from aiforge.schemas.common import Listing, Page
from aiforge.state import artifacts
from aiforge.state.access import State
from aiforge.storage import Storage, artifact_file

if TYPE_CHECKING:
    from aiforge.services.context import Services

LONGEST_NAME = 200

_MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")


def keep(
    state: State,
    storage: Storage,
    owner_id: str,
    type: ArtifactType,
    name: str,
    content: bytes,
    mime_type: str,
    *,
    resource_ids: Sequence[str] = (),
    attempt: int | None = None,
) -> Artifact:
    """Store an artifact; a second time, the one of the same owner and name is replaced.

    The content is written first and under its hash, so a crash at any moment leaves either no
    artifact or a whole one.

    Args:
        owner_id: The run or mission that makes it.
        content: For a ``chart`` a Vega-Lite specification that holds its data.
        mime_type: Without parameters; texts are UTF-8.
        resource_ids: What it is about beside its owner.
        attempt: Of the run that owns it.

    Raises:
        InvalidInput: The name, the media type or the content is not acceptable.
        Conflict: The attempt is not the run's current one, or the run has ended.
    """
    _check(type, name, content, mime_type)
    if type in ("log", "report"):
        content = redact(content.decode("utf-8", "replace")).encode()
    digest = hashlib.sha256(content).hexdigest()
    # Also where it is there already: what was written just now is not collected as garbage.
    storage.write_bytes(artifact_file(digest), content)
    new = artifacts.NewArtifact(
        owner_id=owner_id,
        type=type,
        name=name,
        mime_type=mime_type,
        size=len(content),
        sha256=digest,
        resource_ids=list(dict.fromkeys([owner_id, *resource_ids])),
    )
    return state.call_sync(artifacts.record, new, attempt)


def _check(type: ArtifactType, name: str, content: bytes, mime_type: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidInput(f"Name the artifact with 1 to {LONGEST_NAME} characters, not {name!r}.")
    if not _MIME_TYPE.fullmatch(mime_type) or len(mime_type) > 100:
        raise InvalidInput(f"{mime_type!r} is no media type such as text/markdown.")
    if type == "chart":
        try:
            is_chart = isinstance(json.loads(content), dict)
        except ValueError:
            is_chart = False
        if not is_chart:
            raise InvalidInput("A chart is a Vega-Lite specification, a JSON object.")


async def list_page(
    services: Services, page: Page, resource_id: str | None = None
) -> Listing[Artifact]:
    """Artifacts, newest first; ``NotFound`` for a resource of a project that is not one's own."""
    if services.projects is not None:
        if resource_id is None:
            raise InvalidInput(
                "This credential is bound to projects; name a resource of theirs with resourceId.",
                code="resource_missing",
                field="resourceId",
                error="Required",
            )
        await services.require_visible([resource_id], "resource")
    return await services.state.call(artifacts.page, page.limit, page.offset, resource_id)


async def get(services: Services, artifact_id: str) -> Artifact:
    """One artifact, or ``NotFound``."""
    return await services.state.call(artifacts.get, artifact_id)


async def content(services: Services, artifact: Artifact, start: int, end: int) -> Iterator[bytes]:
    """The bytes of an artifact from ``start`` up to, not including, ``end``, in pieces.

    Raises:
        NotFound: The file is gone (``file_not_found``).
    """
    path = artifact_file(artifact.sha256)
    return await asyncio.to_thread(services.storage.pieces, path, start, end)
