"""What every watcher is and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from aiforge.schemas.artifacts import ArtifactType
from aiforge.schemas.missions import MissionPolicy, Watcher
from aiforge.services.context import Services
from aiforge.state.proposals import Proposal


@dataclass(frozen=True)
class Attachment:
    """A file that shows a mission's evidence."""

    type: ArtifactType
    name: str
    content: bytes
    mime_type: str


@dataclass(frozen=True)
class Found:
    """There is a reason for a mission."""

    proposal: Proposal
    attachments: list[Attachment] = field(default_factory=list)


@dataclass(frozen=True)
class Quiet:
    """There is no reason for a mission; one that is open is superseded because of this."""

    because: str


Finding = Found | Quiet | None
"""``None`` where it is not known yet: something is still being measured, or does not answer."""


class Watching(Protocol):
    """Looks at one thing, as often as it is asked to; keeps nothing that matters between looks."""

    name: Watcher

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        """What is to be said of a project now (of the platform, where its name is empty).

        Raises:
            AIForgeError: It could not be found out; nothing changes.
        """
        ...
