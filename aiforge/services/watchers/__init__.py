"""What the platform watches; each watcher is a small class that proposes one kind of action."""

from __future__ import annotations

from aiforge.services.watchers.alerts import DatasetQuality, FailedJobs
from aiforge.services.watchers.base import Attachment, Finding, Found, Quiet, Watching
from aiforge.services.watchers.deploy import Deploy
from aiforge.services.watchers.platform import FullDisk, StalledQueue
from aiforge.services.watchers.retrain import Retrain
from aiforge.services.watchers.serving import MissingModel, SlowModel

__all__ = [
    "Attachment",
    "Finding",
    "Found",
    "Quiet",
    "Watching",
    "of_platform",
    "of_project",
]


def of_project() -> list[Watching]:
    """The watchers that look at one project at a time."""
    return [Retrain(), Deploy(), FailedJobs(), MissingModel(), SlowModel(), DatasetQuality()]


def of_platform() -> list[Watching]:
    """The watchers that look at the platform itself."""
    return [FullDisk(), StalledQueue()]
