"""Every error the platform raises.

The tree, by what the caller can do about it:

    AIForgeError
     ├─ InvalidInput          a value is out of range or not acceptable
     │   └─ SchemaViolation   the request does not have the declared shape
     ├─ NotFound              no such resource
     ├─ Conflict              the state of the resource does not allow it
     ├─ Unauthenticated, Forbidden
     ├─ RateLimited
     ├─ Unavailable           a dependency is away; try again later
     ├─ Rejected              method, size, range or media type is not accepted
     └─ Failure               work was attempted and failed
         ├─ Cancelled
         └─ InternalError     a fault of the platform itself

An error carries a stable machine-readable ``code``, a message that names the remedy,
and a ``detail`` mapping that is safe to show. Nothing here knows about HTTP.
"""

from __future__ import annotations

from typing import Any


class AIForgeError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: One sentence for a person, ending in what to do where there is something to do.
        code: Stable machine word, for example ``job_not_found``; the class default otherwise.
        **detail: JSON-serialisable facts about the error that may be shown to the caller.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.code, self.detail)


def _rebuild(
    kind: type[AIForgeError], message: str, code: str, detail: dict[str, Any]
) -> AIForgeError:
    error = kind(message, code=code)
    error.detail = detail
    return error


class InvalidInput(AIForgeError):
    """Well formed, but a value is out of its range or not acceptable."""

    code = "invalid_input"


class SchemaViolation(InvalidInput):
    """The request does not have the declared shape."""

    code = "schema_violation"


class NotFound(AIForgeError):
    """There is no such resource or route."""

    code = "not_found"


class Conflict(AIForgeError):
    """The state of the resource does not allow the operation."""

    code = "conflict"


class Unauthenticated(AIForgeError):
    """No credential, or a bad one."""

    code = "unauthenticated"


class Forbidden(AIForgeError):
    """The credential lacks a scope."""

    code = "forbidden"


class RateLimited(AIForgeError):
    """Too many requests; ``detail["retryAfter"]`` is in seconds."""

    code = "rate_limited"


class Unavailable(AIForgeError):
    """A dependency is away; ``detail["retryAfter"]`` is in seconds."""

    code = "unavailable"


class Rejected(AIForgeError):
    """The method, size or media type of a request is not accepted."""

    code = "rejected"


class Failure(AIForgeError):
    """Work was attempted and failed for a reason that the message gives."""

    code = "failed"


class Cancelled(Failure):
    """Work was stopped on request."""

    code = "cancelled"


class InternalError(Failure):
    """A fault of the platform itself; the log has the trace."""

    code = "internal_error"
