"""The one place where anything that goes wrong becomes a response.

Every error has the body ``{"status", "message", "detail": {"code", "requestId", …}}``. A value
that has the wrong type is 422, one that has the right type and is not acceptable is 400.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.types import Scope

from aiforge.errors import (
    AIForgeError,
    InternalError,
    InvalidInput,
    NotFound,
    Rejected,
    SchemaViolation,
)
from aiforge.redaction import redact, redact_all
from aiforge.schemas.errors import VALIDATION_FAILED, error_body

log = logging.getLogger(__name__)

REQUEST_ID = "aiforge.request_id"
"""Where a request's scope holds its id."""

_NOT_ACCEPTABLE = frozenset(
    {
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "multiple_of",
        "finite_number",
        "string_too_short",
        "string_too_long",
        "string_pattern_mismatch",
        "too_short",
        "too_long",
        "enum",
        "literal_error",
        "value_error",
    }
)


def install(app: FastAPI) -> None:
    """Have an application answer every error in the platform's form."""

    @app.exception_handler(AIForgeError)
    async def on_own(request: Request, error: AIForgeError) -> JSONResponse:
        return render(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return render(request.scope, _invalid(request, error.errors()))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        response = render(request.scope, _refused(request, error))
        response.headers.update(error.headers or {})
        return response


def render(scope: Scope, error: AIForgeError) -> JSONResponse:
    """The response to an error; a fault of the platform is logged and not shown."""
    request_id = scope.get(REQUEST_ID, "")
    if isinstance(error, InternalError):
        log.error("%s %s failed (%s)", scope["method"], scope["path"], request_id, exc_info=error)
        error = InternalError("Something went wrong on our side; the log has it under requestId.")
    body = error_body(error, request_id)
    body.message, body.detail = redact(body.message), redact_all(body.detail)
    headers = {}
    if isinstance(seconds := error.detail.get("retryAfter"), int | float):
        headers["Retry-After"] = str(math.ceil(seconds))
    return JSONResponse(body.model_dump(mode="json"), body.status, headers)


def unexpected(scope: Scope, error: Exception) -> JSONResponse:
    """The response to an exception that nobody foresaw."""
    request_id = scope.get(REQUEST_ID, "")
    log.error("%s %s failed (%s)", scope["method"], scope["path"], request_id, exc_info=error)
    hidden = InternalError("Something went wrong on our side; the log has it under requestId.")
    return JSONResponse(error_body(hidden, request_id).model_dump(mode="json"), 500)


def validation_error(
    faults: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None = None
) -> InvalidInput:
    """The error that pydantic's findings about a request mean.

    Args:
        faults: As ``ValidationError.errors()`` gives them, with ``loc`` inside the body.
        schema: JSON schema of the body, from which ranges are told in full.
    """
    errors = [{"field": _field(fault), "error": _text(fault, schema or {})} for fault in faults]
    acceptable = all(fault["type"] in _NOT_ACCEPTABLE for fault in faults)
    kind = InvalidInput if acceptable else SchemaViolation
    code = "validation_failed" if acceptable else "schema_violation"
    return kind(VALIDATION_FAILED, code=code, **errors[0], errors=errors)


def _invalid(request: Request, faults: Sequence[Mapping[str, Any]]) -> AIForgeError:
    place = faults[0]["loc"][0]
    if place == "path":
        name = str(faults[0]["loc"][1]).removesuffix("_id")
        return NotFound(f"There is no such {name}.", code=f"{name}_not_found")
    if place == "body" and not _is_json(request):
        return Rejected(
            "This route takes a JSON body; send Content-Type: application/json.",
            code="unsupported_media_type",
        )
    inner = [{**fault, "loc": tuple(fault["loc"][1:])} for fault in faults]
    schema = _parameters(request.scope["endpoint"]).get("" if place == "body" else place, {})
    return validation_error(inner, schema)


def _refused(request: Request, error: HTTPException) -> AIForgeError:
    match error.status_code:
        case 404:
            return NotFound(f"There is no route {request.url.path}.", code="route_not_found")
        case 405:
            return Rejected(
                f"{request.method} is not allowed on {request.url.path}.", code="method_not_allowed"
            )
        case 413:
            return Rejected("The request body is too large.", code="body_too_large")
        case _:
            return SchemaViolation(
                "The request body cannot be read; send valid JSON in UTF-8.",
                code="body_unreadable",
                field="body",
                error="Cannot be read",
            )


def media_type(request: Request) -> str:
    """The media type of a request's body, without parameters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(request: Request) -> bool:
    kind = media_type(request)
    if not kind:
        declared = request.headers.get("content-length", "0")
        return declared == "0" and "transfer-encoding" not in request.headers
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _field(fault: Mapping[str, Any]) -> str:
    loc = () if fault["type"] == "json_invalid" else fault["loc"]
    return ".".join(str(part) for part in loc) or "body"


def _text(fault: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    context = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return "Required"
        case "extra_forbidden":
            return "Unknown key"
        case "json_invalid":
            return f"Not valid JSON: {context.get('error', 'it cannot be parsed')}"
        case "enum" | "literal_error":
            return f"Must be {context['expected']}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            return _range(context, _descend(schema, schema, fault["loc"]))
        case "value_error":
            return str(context.get("error", fault["msg"]))
        case _:
            return str(fault["msg"])


def _range(context: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum", context.get("ge"))
    high = schema.get("maximum", context.get("le"))
    above = schema.get("exclusiveMinimum", context.get("gt"))
    below = schema.get("exclusiveMaximum", context.get("lt"))
    if low is not None and high is not None:
        return f"Must be between {low} and {high}"
    parts = [
        f"{word} {_number(bound)}"
        for word, bound in (
            ("at least", low),
            ("greater than", above),
            ("at most", high),
            ("less than", below),
        )
        if bound is not None
    ]
    return f"Must be {' and '.join(parts)}"


def _number(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _descend(
    schema: Mapping[str, Any], root: Mapping[str, Any], loc: Sequence[Any]
) -> Mapping[str, Any]:
    """The part of a JSON schema that describes a place; empty where it cannot be found."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _descend(root.get("$defs", {}).get(name, {}), root, loc)
    branches = [branch for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        return _descend(branches[0], root, loc)
    if not loc:
        return schema
    inner = schema.get("items", {}) if isinstance(loc[0], int) else {}
    return _descend(schema.get("properties", {}).get(loc[0], inner), root, loc[1:])


@cache
def _parameters(endpoint: Any) -> dict[str, dict[str, Any]]:
    """JSON schemas of what an endpoint takes: its body under ``""``, the rest as objects."""
    query: dict[str, Any] = {}
    found = {"query": {"properties": query}}
    hints = get_type_hints(endpoint, include_extras=True)
    hints.pop("return", None)
    for name, annotation in hints.items():
        annotated = get_origin(annotation) is Annotated
        kind = get_args(annotation)[0] if annotated else annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found[""] = kind.model_json_schema()
        elif annotated and kind is int:
            query[name] = TypeAdapter(annotation).json_schema()
    return found
