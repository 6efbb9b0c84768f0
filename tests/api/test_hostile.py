"""No request, however strange, makes the platform fail."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as tests
from hypothesis import strategies as st
from served import BASE_MODEL

from aiforge.api import examples

STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1e400, -1e400, float("nan"), 10**30, 0.5, 2**63),
    *("", " ", "\0", "a\0b", "\ud800", "𝔘", "x" * 70_000, "../../etc", "%s", "1", "[]"),
    *([], [None], [[]], ["\0"], ["x" * 70_000], [1] * 2000, {}, {"": None}, {"a": {"b": []}}),
]

BODIES = {
    "/v1/fine-tune": examples.FINE_TUNE_REQUEST
    | {
        "baseModel": BASE_MODEL,
        "method": "pissa",
        "maxSeqLength": 128,
        "seed": 1,
        "numWorkers": 1,
        "minWorkers": 1,
        "zeroStage": 1,
        "offload": False,
        "activationCheckpointing": False,
        "schedule": "linear",
        "evalEvery": 10,
        "earlyStopping": 3,
        "quantizeBase": False,
        "targetModules": ["q"],
        "resumeFrom": "job-1",
    },
    "/datasets/generate": examples.GENERATE_REQUEST
    | {"baseModel": BASE_MODEL, "raft": {"distractors": 1, "chunkTokens": 64, "seed": 0}},
    "/data-sources": examples.SOURCE_REQUEST,
}

FIELDS = [
    *((path, (name,)) for path, body in BODIES.items() for name in body),
    *(("/datasets/generate", ("raft", name)) for name in ("distractors", "chunkTokens", "seed")),
]


def check(answer: httpx.Response, asked: object) -> None:
    """An answer below 500; every error has the one body."""
    assert answer.status_code < 500, (asked, answer.text[:300])
    if answer.status_code >= 400:
        body = answer.json()
        assert body.keys() == {"status", "message", "detail"}
        assert body["status"] == answer.status_code
        assert {"code", "requestId"} <= body["detail"].keys()


def replaced(body: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    head, *rest = place
    return body | {head: replaced(body[head], tuple(rest), value) if rest else value}


@pytest.mark.parametrize(("path", "place"), FIELDS)
def test_strange_values_in_each_field(
    api: httpx.Client, app: FastAPI, path: str, place: tuple[str, ...]
) -> None:
    declared = app.openapi()["paths"][path]["post"]["responses"]
    for value in STRANGE:
        content = json.dumps(replaced(BODIES[path], place, value))
        answer = api.post(path, content=content, headers={"Content-Type": "application/json"})
        check(answer, value)
        assert str(answer.status_code) in declared, value


@pytest.mark.parametrize("name", ["limit", "offset", "status", "projectName", "tail", "after"])
def test_strange_values_in_each_parameter(api: httpx.Client, name: str) -> None:
    texts = ["", "0", "-1", "1e3", "nan", "9" * 40, "\0", "%00", "a" * 5000, "true", "[]", "1 "]
    for path, text in itertools.product(("/jobs", "/data-sources", "/jobs/job-1/logs"), texts):
        check(api.get(path, params={name: text}), (path, text))


@pytest.mark.parametrize("text", ["\0", "a\0b", "\n", "x" * 5000, " "])
def test_strange_reasons_for_a_deletion(api: httpx.Client, text: str) -> None:
    check(api.delete("/models/model-1", params={"reason": text}), text)


@pytest.mark.parametrize("name", ["Idempotency-Key", "Last-Event-ID", "X-Request-Id", "Accept"])
def test_strange_values_in_each_header(api: httpx.Client, name: str) -> None:
    for text in ("", " ", "a b", "x" * 5000, "é", "1_2", "*/*;q=x", "a\tb"):
        headers = {name: text.encode("utf-8")}
        check(api.get("/jobs/job-1/events", headers=headers), text)
        answer = api.post("/v1/fine-tune", json=BODIES["/v1/fine-tune"], headers=headers)
        check(answer, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@tests(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON, path=st.sampled_from([*BODIES, "/data-sources/src-1/sync"]))
def test_any_json_body(api: httpx.Client, body: Any, path: str) -> None:
    content = json.dumps(body)

    answer = api.post(path, content=content, headers={"Content-Type": "application/json"})

    check(answer, body)
