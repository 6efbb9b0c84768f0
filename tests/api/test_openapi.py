"""The OpenAPI document says what the API does."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from aiforge.api import examples, mission_examples, openapi
from aiforge.schemas import (
    access,
    artifacts,
    chat,
    datasets,
    exports,
    health,
    jobs,
    missions,
    models,
    plans,
    sources,
    webhooks,
)
from aiforge.schemas.common import Message

TYPES: list[tuple[Any, Any]] = [
    (examples.HEALTH, health.Health),
    (mission_examples.MISSIONS, missions.MissionList),
    (mission_examples.MISSION, missions.MissionDetail),
    (mission_examples.APPROVE_REQUEST, missions.ApproveRequest),
    (mission_examples.REJECT_REQUEST, missions.RejectRequest),
    (mission_examples.MISSION_POLICY, missions.MissionPolicy),
    (mission_examples.TRACK_RECORD, missions.TrackRecord),
    (examples.STATUS, health.SystemStatus),
    (examples.SOURCE, sources.Source),
    (examples.SOURCE_REQUEST, sources.GitSourceRequest),
    (examples.SOURCE_CREATED, sources.SourceCreated),
    (examples.SYNC_STARTED, sources.SyncStarted),
    (examples.FILE, sources.SourceFile),
    (examples.DATASET, datasets.Dataset),
    (examples.DATASET_DETAIL, datasets.DatasetDetail),
    (examples.GENERATE_REQUEST, datasets.GenerateRequest),
    (examples.GENERATED, datasets.GenerateResponse),
    (examples.FINE_TUNE_REQUEST, jobs.FineTuneRequest),
    (examples.FINE_TUNED, jobs.FineTuneResponse),
    (examples.TRAINING_PLAN, plans.TrainingPlan),
    (examples.JOB, jobs.Job),
    (examples.METRICS, jobs.JobMetricsHistory),
    (examples.LOGS, jobs.JobLogs),
    (examples.CANCELLED, Message),
    (examples.ARTIFACT, artifacts.Artifact),
    (examples.KEY_REQUEST, access.KeyRequest),
    (examples.API_KEY, access.ApiKey),
    (examples.KEY_CREATED, access.CreatedKey),
    (examples.AUDIT_ENTRY, access.AuditEntry),
    (examples.WEBHOOK_REQUEST, webhooks.WebhookRequest),
    (examples.WEBHOOK, webhooks.Webhook),
    (examples.WEBHOOK_CREATED, webhooks.CreatedWebhook),
    (examples.ROTATED, webhooks.RotatedSecret),
    (examples.DELIVERY, webhooks.Delivery),
    (examples.VALIDATION, jobs.Validation),
    (examples.MODEL, models.Model),
    (examples.MODEL_CHANGE, models.ModelChange),
    (examples.LINEAGE, models.Lineage),
    (examples.EXPORT, exports.Export),
    (examples.EXPORT_DETAIL, exports.ExportDetail),
    (examples.CHAT_REQUEST, chat.ChatRequest),
    (examples.CHAT_COMPLETION, chat.ChatCompletion),
    (examples.CHAT_MODELS, chat.ChatModels),
    (examples.DEPLOYED, models.DeployResponse),
    (examples.ACTIVATED, models.ModelActionResponse),
    (examples.ROLLED_BACK, models.ModelActionResponse),
]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


@pytest.mark.parametrize(
    ("example", "kind"), TYPES, ids=lambda value: getattr(value, "__name__", "")
)
def test_examples_are_of_their_type(example: Any, kind: Any) -> None:
    known = {field.alias or name for name, field in kind.model_fields.items()}

    assert TypeAdapter(kind).validate_python(example)
    assert example.keys() <= known


def test_document_is_openapi_3_1_with_names_fit_for_clients(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]

    assert document["openapi"].startswith("3.1")
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name[0].islower() for name in names)
    assert {"fineTune", "listJobs", "getJob", "createDataSource", "streamEvents"} <= set(names)


def test_every_operation_declares_errors_examples_and_the_envelope(
    document: dict[str, Any],
) -> None:
    for operation in operations(document):
        responses = operation["responses"]
        name = operation["operationId"]
        assert {"500", "503"} <= responses.keys(), name
        assert operation["description"], name
        for status, response in responses.items():
            for kind, content in response.get("content", {}).items():
                if kind == "application/json":
                    assert "example" in content, (name, status)
        success = next(responses[status] for status in ("200", "201") if status in responses)
        if "application/json" in success["content"]:
            assert "application/vnd.aiforge.envelope+json" in success["content"], name


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.add(value["$ref"].rpartition("/")[2])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    schemas = document["components"]["schemas"]
    assert found <= schemas.keys()
    assert {"ErrorBody", "Meta", "GitSourceRequest"} <= found
    assert "HTTPValidationError" not in schemas


SNAPSHOT = Path(__file__).parent / "openapi.json"


def test_a_change_of_the_document_is_deliberate(document: dict[str, Any]) -> None:
    known, now = json.loads(SNAPSHOT.read_text()), json.loads(json.dumps(document))
    if known != now:
        lines = (openapi.text(version).splitlines() for version in (known, now))
        changes = "\n".join(difflib.unified_diff(*lines, "kept", "now", lineterm="", n=2))
        pytest.fail(
            f"The document changed:\n{changes[:8000]}\n"
            "If that is meant: python -m aiforge.api.openapi > tests/api/openapi.json"
        )


def test_every_request_body_has_an_example_and_every_parameter_a_schema(
    document: dict[str, Any],
) -> None:
    for operation in operations(document):
        name = operation["operationId"]
        body = operation.get("requestBody", {}).get("content", {})
        for kind, content in body.items():
            schema = content["schema"]
            assert {"example", "examples"} & content.keys() or "examples" in schema, (name, kind)
        for parameter in operation.get("parameters", ()):
            assert parameter["schema"], (name, parameter["name"])


def test_docs_need_nothing_from_elsewhere(api: httpx.Client) -> None:
    page = api.get("/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert len(links) == 5
    for link in links:
        file = api.get(link)
        assert link.startswith("/docs/")
        assert file.status_code == 200, link
        assert file.content
    assert 'url: "/openapi.json"' in api.get("/docs/docs.js").text
    assert api.get("/openapi.json").json()["info"]["title"] == "AI Forge"


@pytest.mark.parametrize("name", ["..%2Fapp.py", "LICENSE", "%2Fetc%2Fpasswd", ""])
def test_docs_show_no_other_file(api: httpx.Client, name: str) -> None:
    assert api.get(f"/docs/{name}").status_code == 404
