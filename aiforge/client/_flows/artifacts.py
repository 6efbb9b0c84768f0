"""Artifacts: charts, reports and logs that runs and missions leave."""

from __future__ import annotations

import os
from pathlib import Path

from aiforge.client._files import Progress
from aiforge.client._flow import Call, Flow, Send
from aiforge.client._flows import downloads
from aiforge.client._flows.common import Page, fetch, fetch_page, quoted
from aiforge.schemas.artifacts import Artifact


def list_(
    *, resource_id: str | None = None, limit: int | None = None, offset: int | None = None
) -> Flow[Page[Artifact]]:
    """Artifacts, newest first; only those about one resource, where that is given."""
    return fetch_page(Artifact, "/artifacts", resourceId=resource_id, limit=limit, offset=offset)


def get(artifact_id: str) -> Flow[Artifact]:
    """What is known of an artifact beside its content.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(Artifact, f"/artifacts/{quoted(artifact_id)}")


def content(artifact_id: str) -> Flow[bytes]:
    """The content of an artifact: Vega-Lite JSON, Markdown, plain text, or any bytes.

    Raises:
        NotFound: There is none with this id.
    """
    response = yield Send(Call("GET", f"/artifacts/{quoted(artifact_id)}/content"))
    return bytes(response.content)


def save(
    artifact_id: str, target: str | os.PathLike[str] = ".", *, progress: Progress | None = None
) -> Flow[Path]:
    """Download an artifact, compare its hash, and return where it lies.

    Args:
        target: The file to write, or a directory, in which it gets its own name.
        progress: Called with the bytes that are there so far and the bytes in all.

    Raises:
        NotFound: There is none with this id.
        Failure: What arrived is not the artifact.
    """
    artifact = yield from get(artifact_id)
    suffix = _SUFFIXES.get(artifact.type, "")
    return (
        yield from downloads.save(
            f"/artifacts/{quoted(artifact_id)}/content",
            target,
            name=artifact.name if artifact.name.endswith(suffix) else artifact.name + suffix,
            size=artifact.size,
            sha256=artifact.sha256,
            progress=progress,
        )
    )


_SUFFIXES = {"chart": ".vl.json", "report": ".md", "log": ".txt"}
