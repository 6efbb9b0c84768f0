"""The Python SDK: ``from aiforge.client import AIForge``.

Errors of the server are raised as the classes of ``aiforge.errors``.
"""

from aiforge.client._client import DEFAULT_URL, AIForge, AsyncAIForge
from aiforge.client._flows.common import Page
from aiforge.client._flows.jobs import require_completed
from aiforge.client._handles import (
    AsyncDataset,
    AsyncJob,
    AsyncModel,
    AsyncSource,
    Dataset,
    Job,
    Model,
    Source,
)
from aiforge.client._retry import RetryPolicy, ServerUnreachable

__all__ = [
    "DEFAULT_URL",
    "AIForge",
    "AsyncAIForge",
    "AsyncDataset",
    "AsyncJob",
    "AsyncModel",
    "AsyncSource",
    "Dataset",
    "Job",
    "Model",
    "Page",
    "RetryPolicy",
    "ServerUnreachable",
    "Source",
    "require_completed",
]
