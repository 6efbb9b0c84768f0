"""Requests made up from the OpenAPI document: no 500, and no answer that it does not declare.

The default run makes few requests to each operation. Hundreds are made by

    python -m pytest -m slow tests/api/test_schemathesis.py
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import World, add_dataset, fine_tune_body, local_client

from aiforge.services import artifacts


def no_fault_of_ours(context: Any, response: Any, case: Any) -> None:
    """Nothing is answered with a 5xx; but that a dependency is away, 503, is no fault."""
    assert response.status_code < 500 or response.status_code == 503, response.text


CHECKS = [
    no_fault_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FEW, MANY = 10, 300
QUIET = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.filter_too_much,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)

# An endless stream has no answer that could be read to its end.
ENDLESS = "/events"
DOCUMENT = json.loads((Path(__file__).parent / "openapi.json").read_text())
OPERATIONS = [
    (method, path)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if path != ENDLESS
]


@pytest.fixture
def known(
    app: FastAPI, world: World, make_repository: Callable[[Any], Path]
) -> dict[str, list[str]]:
    """Identifiers of what exists, by the name of the parameter that takes them."""
    with local_client(app) as api:
        dataset_id = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))
        ended = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
        world.finish(ended)
        waiting = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
        source_id = api.get("/data-sources").json()[0]["id"]
        models = [model["id"] for model in api.get("/models").json()]
    services = world.services
    text = artifacts.keep(
        services.state, services.storage, ended, "report", "Findings", b"# Found\n", "text/markdown"
    )
    chart = artifacts.keep(
        services.state,
        services.storage,
        ended,
        "chart",
        "Loss",
        b'{"data": {}}',
        "application/json",
    )
    return {
        "job_id": [ended, waiting],
        "dataset_id": [dataset_id],
        "source_id": [source_id],
        "artifact_id": [text.id, chart.id],
        "model_id": models,
    }


@pytest.fixture
def schema(app: FastAPI, known: dict[str, list[str]]) -> Any:
    """The document, with every second identifier one of something that exists."""
    turns = itertools.count()
    loaded = schemathesis.openapi.from_dict(app.openapi())
    loaded.app = app

    @loaded.hook
    def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
        turn = next(turns)
        if path_parameters and turn % 2:
            for name in path_parameters.keys() & known.keys():
                # The stream of a job ends with the job, and the first one has ended.
                ids = known[name][: 1 if context.operation.path.endswith("/events") else None]
                if ids:
                    path_parameters[name] = ids[turn // 2 % len(ids)]
        return path_parameters

    @loaded.hook
    def map_query(context: Any, query: dict[str, Any] | None) -> Any:
        # Nothing works on runs here, so to wait for one takes as long as it may.
        waits = any(one.name == "wait" for one in context.operation.query)
        return (query or {}) | {"wait": 0} if waits else query

    return loaded


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_few_requests(schema: Any, method: str, path: str) -> None:
    ask(schema[path][method], settings(QUIET, max_examples=FEW, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_many_requests(schema: Any, method: str, path: str) -> None:
    ask(schema[path][method], settings(QUIET, max_examples=MANY))


def ask(operation: Any, how: settings) -> None:
    """Make requests up, send them as a client of this machine does, and hold each answer
    against the document.
    """

    @how
    @given(case=operation.as_strategy())
    def asked(case: Any) -> None:
        case.call_and_validate(base_url="http://localhost", checks=CHECKS)

    asked()
