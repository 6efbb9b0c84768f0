"""What people import, and what that import costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import aiforge.client
from aiforge.client import AIForge, AsyncAIForge, Job

NAMES = [
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

OPERATIONS = {
    "sources": {
        *("create_git", "create_local", "upload", "list", "get", "files", "sync", "wait"),
        *("update", "delete"),
    },
    "datasets": {"generate", "list", "get", "wait", "examples", "delete"},
    "jobs": {
        *("fine_tune", "plan", "list", "get", "cancel", "wait", "follow", "logs", "metrics"),
        *("validation", "validate", "wait_validation"),
    },
    "keys": {"create", "list", "revoke"},
    "audit": {"list"},
    "webhooks": {
        *("create", "list", "get", "delete", "test", "enable", "rotate", "deliveries"),
        "replay",
    },
    "exports": {"create", "list", "get", "download", "cancel", "delete"},
    "models": {
        *("list", "get", "active", "lineage", "history", "deploy", "activate", "rollback"),
        "delete",
    },
    "chat": {"complete", "stream", "models"},
    "missions": {
        *("list", "get", "approve", "reject", "wait", "policy", "set_policy", "track_record"),
    },
    "artifacts": {"list", "get", "content", "save"},
    "system": {"health", "status", "events"},
}


def test_public_names_are_these() -> None:
    assert sorted(NAMES) == sorted(aiforge.client.__all__)
    assert all(hasattr(aiforge.client, name) for name in NAMES)


@pytest.mark.parametrize("kind", [AIForge, AsyncAIForge])
def test_operations_are_these_in_both_faces(kind: type[AIForge] | type[AsyncAIForge]) -> None:
    client = kind()
    for resource, operations in OPERATIONS.items():
        found = {name for name in dir(getattr(client, resource)) if not name.startswith("_")}
        assert found == operations


def test_methods_are_documented_as_what_they_do() -> None:
    client = AIForge()

    assert list(inspect.signature(client.jobs.get).parameters) == ["job_id"]
    assert list(inspect.signature(Job.wait).parameters) == ["self", "timeout", "check"]
    assert inspect.signature(client.jobs.get).return_annotation == "Job"
    assert "NotFound" in (client.jobs.get.__doc__ or "")
    assert client.jobs.list.__name__ == "list"


def test_import_brings_neither_torch_nor_ray() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import aiforge.client"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "aiforge" in imported
    assert not imported & {"torch", "ray", "transformers", "pyarrow", "sqlalchemy", "fastapi"}


def test_api_and_command_line_bring_neither_torch_nor_ray() -> None:
    code = (
        "import sys, aiforge.api.factory, aiforge.cli.main\n"
        "print([name for name in ('ray', 'torch', 'transformers') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
