"""Artifacts: charts, reports and logs that runs and missions leave."""

from __future__ import annotations

from aiforge.client._flow import Call, Flow, Send
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
