"""What routes declare to answer: their example, and the errors that can come instead."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from aiforge.schemas.common import ErrorBody, Wire

_MEANING = {
    400: ("A value is out of its range or not acceptable.", "validation_failed"),
    401: ("The request has no credential, or one that is not accepted.", "credential_missing"),
    403: ("The client may not do this.", "forbidden"),
    404: ("There is no such resource.", "not_found"),
    409: ("The state of the resource does not allow it.", "conflict"),
    413: ("The body is too large.", "body_too_large"),
    415: ("The media type is not accepted.", "unsupported_media_type"),
    416: ("The range lies beyond the content.", "range_not_satisfiable"),
    422: ("The request does not have the declared shape.", "schema_violation"),
    429: ("The credential has sent too many requests.", "rate_limited"),
    500: ("A fault of the platform; the log has it under `requestId`.", "internal_error"),
    503: (
        "Something that the platform depends on is away; `Retry-After` says for how long.",
        "state_unavailable",
    ),
}

EVERYWHERE = (401, 403, 429, 500, 503)

Responses = dict[int | str, dict[str, Any]]


def answers(example: Any, *errors: int, status: int = 200, paged: bool = False) -> Responses:
    """What a route answers.

    Args:
        example: A body of the successful answer.
        errors: Statuses that it may answer beside those that every route may (``EVERYWHERE``).
        status: Of the successful answer.
        paged: The answer is one page of a list.
    """
    success: dict[str, Any] = {"content": {"application/json": {"example": example}}}
    if paged:
        success["headers"] = {
            "X-Total-Count": {
                "description": "Number of items that the filters match.",
                "schema": {"type": "integer", "minimum": 0},
            }
        }
        errors = (400, 422, *errors)
    return {status: success, **{code: error(code) for code in sorted({*errors, *EVERYWHERE})}}


def as_json(body: Wire, status: int = 200) -> Response:
    """An answer that is of its route's type by its making, and need not be checked once more."""
    return Response(body.model_dump_json(), status, media_type="application/json")


def error(status: int) -> dict[str, Any]:
    """The declaration of one error."""
    meaning, code = _MEANING[status]
    example = {
        "status": status,
        "message": meaning,
        "detail": {"code": code, "requestId": "req-01k8zj4m7q9v2x5c8b1n4d6f0h"},
    }
    declared: dict[str, Any] = {
        "model": ErrorBody,
        "description": meaning,
        "content": {"application/json": {"example": example}},
    }
    if status in (429, 503):
        declared["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    if status == 429:
        declared["headers"] |= {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in (
                ("RateLimit", "What is left, and the seconds until there is more."),
                ("RateLimit-Policy", "How many requests may be sent in how many seconds."),
            )
        }
    return declared
