"""Every error has its status and the one body, whichever layer it comes from."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from served import World, fine_tune_body, local_client

from aiforge import errors
from aiforge.api.factory import create_app
from aiforge.errors import AIForgeError, Unavailable
from aiforge.schemas.errors import error_body, error_from_body

BODY = fine_tune_body("ds-1")


def check(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The detail of an error, after its form was checked."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"status", "message", "detail"}
    assert body["status"] == status
    assert body["message"]
    assert body["detail"]["code"] == code
    assert body["detail"]["requestId"] == answer.headers["x-request-id"]
    detail: dict[str, Any] = body["detail"]
    return detail


@pytest.mark.parametrize(
    ("changes", "status", "field", "error"),
    [
        ({"epochs": 99}, 400, "epochs", "Must be between 1 and 10"),
        ({"epochs": 0}, 400, "epochs", "Must be between 1 and 10"),
        ({"learningRate": 0}, 400, "learningRate", "Must be greater than 0 and at most 1"),
        ({"learningRate": 1.5}, 400, "learningRate", "Must be greater than 0 and at most 1"),
        ({"rank": 1025}, 400, "rank", "Must be between 1 and 1024"),
        ({"batchSize": 0}, 400, "batchSize", "Must be at least 1"),
        ({"weightDecay": -0.1}, 400, "weightDecay", "Must be between 0 and 1"),
        ({"method": "magic"}, 400, "method", "Must be 'pissa', 'lora' or 'full'"),
        ({"maxSeqLength": 3}, 400, "maxSeqLength", "Must be at least 64"),
        ({"epochs": "many"}, 422, "epochs", "Input should be a valid integer"),
        ({"epochs": 1.5}, 422, "epochs", "Input should be a valid integer"),
        ({"epoch": 3}, 422, "epoch", "Unknown key"),
        ({"projectName": None}, 422, "projectName", "Input should be a valid string"),
    ],
)
def test_values_out_of_range_are_400_and_wrong_shapes_422(
    api: httpx.Client, changes: dict[str, Any], status: int, field: str, error: str
) -> None:
    code = "validation_failed" if status == 400 else "schema_violation"

    detail = check(api.post("/v1/fine-tune", json=BODY | changes), status, code)

    assert detail["field"] == field
    assert detail["error"].startswith(error)
    assert detail["errors"] == [{"field": field, "error": detail["error"]}]


def test_all_faults_are_listed_and_one_of_shape_makes_422(api: httpx.Client) -> None:
    answer = api.post("/v1/fine-tune", json={"epochs": 99, "baseModel": "m"})

    detail = check(answer, 422, "schema_violation")

    faults = {fault["field"]: fault["error"] for fault in detail["errors"]}
    assert faults == {
        "projectName": "Required",
        "datasetId": "Required",
        "epochs": "Must be between 1 and 10",
    }


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "schema_violation"),
        (b"", "schema_violation"),
        (b"\xff", "body_unreadable"),
        (b"[" * 100_000, "body_unreadable"),
        (b"[]", "schema_violation"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/fine-tune", "/datasets/generate"])
def test_body_that_is_no_json_object_is_422(
    api: httpx.Client, path: str, content: bytes, code: str
) -> None:
    answer = api.post(path, content=content, headers={"Content-Type": "application/json"})

    assert check(answer, 422, code)["field"]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff", b"[" * 100_000, b'{"url": 1}', b"{}"])
def test_source_that_is_no_json_object_is_422(api: httpx.Client, content: bytes) -> None:
    answer = api.post(
        "/data-sources", content=content, headers={"Content-Type": "application/json"}
    )

    assert check(answer, 422, "schema_violation")["field"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route_not_found"),
        ("GET", "/jobs/", 404, "route_not_found"),
        ("GET", "/jobs/job-none", 404, "job_not_found"),
        ("GET", "/jobs/job-none/metrics", 404, "job_not_found"),
        ("GET", "/jobs/job-none/logs", 404, "job_not_found"),
        ("GET", "/jobs/job-none/events", 404, "job_not_found"),
        ("GET", "/jobs/job-none/validation", 404, "job_not_found"),
        ("DELETE", "/jobs/job-none", 404, "job_not_found"),
        ("GET", "/jobs/%00", 404, "job_not_found"),
        ("GET", "/jobs/..%2f", 404, "route_not_found"),
        ("GET", f"/jobs/{'x' * 5000}", 404, "job_not_found"),
        ("GET", "/datasets/ds-none", 404, "dataset_not_found"),
        ("DELETE", "/datasets/ds-none", 404, "dataset_not_found"),
        ("GET", "/data-sources/src-none", 404, "source_not_found"),
        ("GET", "/data-sources/src-none/files", 404, "source_not_found"),
        ("POST", "/data-sources/src-none/sync", 404, "source_not_found"),
        ("DELETE", "/data-sources/src-none", 404, "source_not_found"),
        ("PUT", "/jobs", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("GET", "/jobs?limit=0", 400, "validation_failed"),
        ("GET", "/jobs?limit=501", 400, "validation_failed"),
        ("GET", "/jobs?offset=-1", 400, "validation_failed"),
        ("GET", f"/jobs?offset={10**30}", 400, "validation_failed"),
        ("GET", "/jobs?limit=many", 422, "schema_violation"),
        ("GET", "/jobs?status=lazy", 400, "validation_failed"),
        ("GET", "/jobs/job-1/logs?tail=10001", 400, "validation_failed"),
        ("GET", "/events?after=-1", 400, "validation_failed"),
    ],
)
def test_walk_over_routes(
    api: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    check(api.request(method, path), status, code)


def test_method_that_is_not_allowed_names_those_that_are(api: httpx.Client) -> None:
    assert api.put("/jobs/job-1").headers["allow"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
def test_other_media_types_are_415(api: httpx.Client, kind: str) -> None:
    answer = api.post("/v1/fine-tune", content=b"{}", headers={"Content-Type": kind})

    check(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_source_of_another_media_type_is_415(api: httpx.Client, kind: str) -> None:
    answer = api.post("/data-sources", content=b"{}", headers={"Content-Type": kind})

    check(answer, 415, "unsupported_media_type")


def test_unknown_references_in_a_body_are_400(api: httpx.Client) -> None:
    model = api.post("/v1/fine-tune", json=BODY | {"baseModel": "none/such model"})
    dataset = api.post("/v1/fine-tune", json=BODY)
    source = api.post(
        "/datasets/generate",
        json={"name": "d", "sourceIds": ["src-none"], "baseModel": "little"},
    )

    assert check(model, 400, "unknown_base_model")["field"] == "baseModel"
    assert check(dataset, 400, "unknown_dataset")["field"] == "datasetId"
    assert check(source, 400, "unknown_source")["field"] == "sourceIds"


def test_key_that_is_no_token_is_400(api: httpx.Client) -> None:
    answer = api.post("/v1/fine-tune", json=BODY, headers={"Idempotency-Key": "x" * 300})

    assert check(answer, 400, "validation_failed")["field"] == "Idempotency-Key"


def test_strings_that_no_database_holds_are_refused(api: httpx.Client) -> None:
    answers = [
        api.post(
            "/v1/fine-tune",
            content=f'{{"projectName": "p", "datasetId": "{text}", "baseModel": "little"}}',
            headers={"Content-Type": "application/json"},
        )
        for text in ("\\ud800", "\\u0000", "x" * 100_000)
    ]

    assert [answer.status_code for answer in answers] == [422, 400, 400]


@pytest.mark.parametrize("where", ["declared", "chunked"])
def test_json_body_that_is_too_large_is_413(api: httpx.Client, where: str) -> None:
    content = b'{"a": "' + b"x" * (2 << 20) + b'"}'
    sent = (
        content
        if where == "declared"
        else iter([content[i : i + 65536] for i in range(0, len(content), 65536)])
    )

    answer = api.post("/v1/fine-tune", content=sent, headers={"Content-Type": "application/json"})

    check(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "192.0.2.7"},
        {"Host": "localhost.evil.example"},
        {"Host": "["},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_pages_of_other_sites_are_refused(api: httpx.Client, headers: dict[str, str]) -> None:
    check(api.get("/jobs", headers=headers), 403, "host_not_allowed")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "127.0.0.1:8000"}, {"Host": "[::1]:8000"}, {"Origin": "http://localhost:3000"}],
)
def test_this_machine_is_served(api: httpx.Client, headers: dict[str, str]) -> None:
    assert api.get("/jobs", headers=headers).status_code == 200


def test_unforeseen_exception_is_500_without_internals(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(world.services)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the inside")

    answer = local_client(app).get("/broken")

    detail = check(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert detail["requestId"] in caplog.text
    assert "secret of the inside" in caplog.text


def test_absent_dependency_is_503_with_retry_after(world: World) -> None:
    app = create_app(world.services)

    @app.get("/away")
    async def away() -> None:
        raise Unavailable("Away.", retryAfter=2.5)

    answer = local_client(app).get("/away")

    check(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    "kind",
    [
        errors.InvalidInput,
        errors.SchemaViolation,
        errors.NotFound,
        errors.Conflict,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.RateLimited,
        errors.Unavailable,
        errors.Rejected,
        errors.InternalError,
    ],
)
def test_error_crosses_the_wire_as_its_own_class(kind: type[AIForgeError]) -> None:
    sent = error_body(kind("No.", code="some_code", hint=1), "req-1")

    raised = error_from_body(sent.status, sent.model_dump(mode="json"))

    assert type(raised) is kind
    assert (raised.message, raised.code) == ("No.", "some_code")
    assert raised.detail == {"hint": 1, "requestId": "req-1"}


@pytest.mark.parametrize("body", ["<html>502</html>", None, [], {"detail": 3}, {"message": 1}])
def test_answer_of_a_stranger_becomes_an_error_too(body: Any) -> None:
    assert "502" in error_from_body(502, body).message
