"""Artifacts: what a run leaves for people to look at."""

from __future__ import annotations

from typing import Literal

from aiforge.schemas.common import Timestamp, Wire

ArtifactType = Literal["chart", "report", "log", "file"]
"""A Vega-Lite specification with its data, Markdown, plain text, or anything else."""

VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"
"""The ``$schema`` of every chart."""


class Artifact(Wire):
    """What is known of an artifact beside its content.

    ``owner_id`` is the run or mission that made it; ``resource_ids`` what it is about, its owner
    among them. ``size`` is in bytes.
    """

    id: str
    type: ArtifactType
    name: str
    mime_type: str
    size: int
    sha256: str
    owner_id: str
    resource_ids: list[str]
    created_at: Timestamp
