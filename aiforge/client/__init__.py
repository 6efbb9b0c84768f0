"""The Python SDK: ``from aiforge.client import AIForge``.

Errors of the server are raised as the classes of ``aiforge.errors``.
"""

from aiforge.client._client import DEFAULT_URL, AIForge, AsyncAIForge
from aiforge.client._flows.common import Page
from aiforge.client._flows.jobs import require_completed
from aiforge.client._handles import (
    Artifact,
    AsyncArtifact,
    AsyncDataset,
    AsyncJob,
    AsyncMission,
    AsyncModel,
    AsyncSource,
    Dataset,
    Job,
    Mission,
    MissionPage,
    Model,
    Source,
)
from aiforge.client._metrics import Metrics
from aiforge.client._retry import RetryPolicy, ServerUnreachable

__all__ = [
    "DEFAULT_URL",
    "AIForge",
    "Artifact",
    "AsyncAIForge",
    "AsyncArtifact",
    "AsyncDataset",
    "AsyncJob",
    "AsyncMission",
    "AsyncModel",
    "AsyncSource",
    "Dataset",
    "Job",
    "Metrics",
    "Mission",
    "MissionPage",
    "Model",
    "Page",
    "RetryPolicy",
    "ServerUnreachable",
    "Source",
    "require_completed",
]
