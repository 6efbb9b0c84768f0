"""The OpenAPI document: what FastAPI finds out, and what it cannot know.

python -m aiforge.api.openapi > tests/api/openapi.json
"""

from __future__ import annotations

import json
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from aiforge.api import scopes
from aiforge.api.middleware import ENVELOPE

_REFERENCE = "#/components/schemas/{model}"

_DESCRIPTION = f"""\
Long work (reading a source, building a dataset, training) goes on behind the requests: `POST` \
answers at once with an identifier, and `GET` shows how far it is. `GET /events` and \
`GET /jobs/{{job_id}}/events` stream what happens.

Every error has the body `{{"status", "message", "detail": {{"code", "requestId", …}}}}`.

A client that sends `Accept: {ENVELOPE}` gets every successful answer as `{{"data", "meta"}}`.

Outside development every route but `GET /health` asks for a credential, an API key or a JSON Web \
Token, and for the scope that its `security` names; `jobs:*` holds every scope of jobs, `admin` all.

A repeated `POST` with the same `Idempotency-Key` changes nothing and is answered as the first.
"""

_META: dict[str, Any] = {
    "title": "Meta",
    "type": "object",
    "required": ["timestamp"],
    "properties": {
        "timestamp": {"type": "string", "format": "date-time"},
        "total": {"type": "integer", "minimum": 0},
        "limit": {"type": "integer", "minimum": 1},
        "offset": {"type": "integer", "minimum": 0},
    },
}

_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A JSON Web Token (`aud`, `iss`, `exp`, `sub` and `scope`), or an API key.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key, `aif_<id>.<secret>`.",
    },
}

_extra: dict[str, type[BaseModel]] = {}


def operation_id(route: APIRoute) -> str:
    """``list_jobs`` as ``listJobs``: what generated clients name their methods after."""
    head, *tail = route.name.split("_")
    return head + "".join(part.title() for part in tail)


def schema_of(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a model that no route declares in its signature."""
    _extra[model.__name__] = model
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def install(app: FastAPI) -> None:
    """Have an application serve the completed document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_DESCRIPTION,
        routes=app.routes,
    )
    schemas = found["components"]["schemas"]
    for name, model in _extra.items():
        described = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(described.pop("$defs", {}))
        schemas[name] = described
    schemas["Meta"] = _META
    found["components"]["securitySchemes"] = _SCHEMES
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _complete(operation)
            _secure(operation, f"{method.upper()} {path}")
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return found


def _complete(operation: dict[str, Any]) -> None:
    """Drop what no route answers, and add the envelope to what each may."""
    responses = operation["responses"]
    default = responses.get("422", {}).get("content", {}).get("application/json", {})
    if default.get("schema", {}).get("$ref", "").endswith("HTTPValidationError"):
        del responses["422"]
    for status, response in responses.items():
        response.setdefault("headers", {})["X-Request-Id"] = {
            "description": "Names this request in the logs.",
            "schema": {"type": "string"},
        }
        plain = response.get("content", {}).get("application/json")
        if status.startswith("2") and plain:
            response["content"][ENVELOPE] = {"schema": _enveloped(plain["schema"])}


def _secure(operation: dict[str, Any], route: str) -> None:
    """Name the credentials that a route takes, and the scope that they must hold."""
    if route in scopes.OPEN:
        operation["security"] = []
        for status in ("401", "429"):
            operation["responses"].pop(status, None)
        return
    rule = scopes.RULES.get(route)
    needed = [str(rule.scope)] if rule and rule.scope else []
    operation["security"] = [{name: needed} for name in _SCHEMES]


def _enveloped(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data", "meta"],
        "properties": {"data": schema, "meta": {"$ref": "#/components/schemas/Meta"}},
    }


def text(document: dict[str, Any]) -> str:
    """The document as it is kept beside the tests: a change shows as few changed lines."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Print the document."""
    from aiforge.api.factory import create_app
    from aiforge.services.context import Services

    print(text(create_app(cast(Services, None)).openapi()), end="")


if __name__ == "__main__":
    main()
