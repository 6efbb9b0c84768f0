"""The wire form of errors: which status an error has, and which error a status is.

The server renders with one half of this table and the client raises again with the other, so
that an error is the same class on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiforge import errors
from aiforge.errors import AIForgeError
from aiforge.schemas.common import ErrorBody

VALIDATION_FAILED = "Validation failed"
"""Message of every error that lists the faults of a request in its detail."""

_STATUS: dict[type[AIForgeError], int] = {
    errors.InvalidInput: 400,
    errors.SchemaViolation: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.Rejected: 413,
    errors.Cancelled: 409,
    errors.Failure: 500,
    errors.InternalError: 500,
    AIForgeError: 500,
}

_REJECTED_STATUS = {
    "method_not_allowed": 405,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
}

_CLASS: dict[int, type[AIForgeError]] = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.Rejected,
    409: errors.Conflict,
    413: errors.Rejected,
    415: errors.Rejected,
    416: errors.Rejected,
    422: errors.SchemaViolation,
    429: errors.RateLimited,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}


def status_of(error: AIForgeError) -> int:
    """The HTTP status of an error: that of its nearest declared class."""
    if isinstance(error, errors.Rejected):
        return _REJECTED_STATUS.get(error.code, 413)
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def error_body(error: AIForgeError, request_id: str) -> ErrorBody:
    """The body that is sent for an error."""
    detail = error.detail | {"code": error.code, "requestId": request_id}
    if isinstance(error, errors.InvalidInput) and "field" in detail and "errors" not in detail:
        fault = {"field": detail["field"], "error": detail.get("error", error.message)}
        detail |= fault | {"errors": [fault]}
    return ErrorBody(status=status_of(error), message=error.message, detail=detail)


def error_from_body(status: int, body: Any) -> AIForgeError:
    """The error that a response means; a body of another shape gives the status alone.

    ``body`` is the decoded JSON of the response, or its text where it is no JSON.
    """
    kind = _CLASS.get(status, errors.InternalError if status >= 500 else AIForgeError)
    if not isinstance(body, Mapping) or not isinstance(body.get("message"), str):
        text = str(body).strip().splitlines()[:1]
        return kind(f"The server answered {status}{': ' + text[0][:200] if text else ''}.")
    detail = dict(body["detail"]) if isinstance(body.get("detail"), Mapping) else {}
    code = detail.pop("code", None)
    message = body["message"]
    if message == VALIDATION_FAILED and isinstance(detail.get("errors"), list):
        message += ": " + "; ".join(_fault(fault) for fault in detail["errors"][:3])
    error = kind(message, code=code if isinstance(code, str) else None)
    error.detail = detail
    return error


def _fault(fault: Any) -> str:
    return f"{fault.get('field')}: {fault.get('error')}" if isinstance(fault, Mapping) else ""
