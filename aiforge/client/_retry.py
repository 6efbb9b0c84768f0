"""What is tried again, when, and how often."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import httpx

from aiforge.client._flow import Call, Flow, Sleep, Transmit
from aiforge.errors import AIForgeError, Unavailable
from aiforge.schemas.errors import error_from_body

_RETRIED_STATUS = frozenset({429, 502, 503, 504})


class ServerUnreachable(Unavailable):
    """No server answers at the address that the client was given."""

    code = "server_unreachable"


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried, and how long the client waits in between.

    Every call is safe to repeat: reads and deletions by nature, the others by the
    ``Idempotency-Key`` that the client adds. Delays in seconds double from ``backoff`` up to
    ``longest``, with jitter; a server's ``Retry-After`` up to ``longest`` takes precedence, and
    one beyond it is not waited for.
    """

    attempts: int = 4
    backoff: float = 0.2
    longest: float = 10.0

    def flow(self, call: Call) -> Flow[httpx.Response]:
        """Send a call until it succeeds or nothing more is to be tried.

        Raises:
            ServerUnreachable: Nothing answers.
            AIForgeError: The error that the server answered, as its class.
        """
        for attempt in range(1, self.attempts + 1):
            delay = self._delay(attempt)
            try:
                response: httpx.Response = yield Transmit(call)
            except httpx.TransportError as error:
                if attempt == self.attempts or not _worth_repeating(error):
                    raise unreachable(error) from error
            else:
                if response.is_success:
                    return response
                delay = max(delay, _retry_after(response))
                if (
                    response.status_code not in _RETRIED_STATUS
                    or attempt == self.attempts
                    or delay > self.longest
                ):
                    raise error_of(response)
            yield Sleep(delay)
        raise AssertionError("a last attempt returns or raises")

    def _delay(self, attempt: int) -> float:
        doubled = self.backoff * 2.0 ** (attempt - 1)
        return min(self.longest, doubled) * random.uniform(0.5, 1.0)


def once(call: Call) -> Flow[httpx.Response]:
    """Send a call a single time; any response is an answer.

    Raises:
        ServerUnreachable: Nothing answers.
    """
    try:
        response: httpx.Response = yield Transmit(call)
        return response
    except httpx.TransportError as error:
        raise unreachable(error) from error


def error_of(response: httpx.Response) -> AIForgeError:
    """The error that a response means."""
    try:
        body = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = response.text
    error = error_from_body(response.status_code, body)
    if (seconds := _retry_after(response)) > 0:
        error.detail.setdefault("retryAfter", seconds)
    return error


def unreachable(error: httpx.TransportError) -> ServerUnreachable:
    """A transport's error, in words that say what to do."""
    url = _address(error)
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return ServerUnreachable(
            f"The server{url} did not answer in time; `aiforge doctor` tells what is wrong.",
            code="server_timeout",
        )
    return ServerUnreachable(
        f"No AI Forge server answers{url}; start one with `aiforge up`, or give its address "
        f"with --url or AIFORGE_URL.",
        reason=str(error),
    )


def _address(error: httpx.TransportError) -> str:
    try:
        url = error.request.url
    except RuntimeError:
        return ""
    return f" at {url.scheme}://{url.netloc.decode()}"


def _worth_repeating(error: httpx.TransportError) -> bool:
    return not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError)


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
