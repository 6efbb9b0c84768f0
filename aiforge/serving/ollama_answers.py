"""What an Ollama server's answers and silences mean, as this platform's errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import httpx

from aiforge.errors import AIForgeError, Failure, NotFound, Unavailable

RETRY_AFTER_SECONDS = 5

_LONGEST_LINE = 1 << 20


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """What the network raises, as this platform's errors."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
        raise Unavailable(
            f"No Ollama server answers at {url}; start it (`ollama serve`), or name another one "
            "with AIFORGE_OLLAMA_URL.",
            code="ollama_unreachable",
            retryAfter=RETRY_AFTER_SECONDS,
        ) from error
    except httpx.TimeoutException as error:
        raise Unavailable(
            f"The Ollama server at {url} takes too long to answer; try again when it is less busy.",
            code="ollama_timeout",
            retryAfter=RETRY_AFTER_SECONDS,
        ) from error
    except httpx.HTTPError as error:
        raise interrupted(str(error) or type(error).__name__) from error


def interrupted(reason: str) -> Unavailable:
    """The error for a server that did not finish what it said."""
    return Unavailable(
        f"The Ollama server went away in the middle: {reason}. Look at its log, and try again.",
        code="ollama_interrupted",
        retryAfter=RETRY_AFTER_SECONDS,
    )


def check(answer: httpx.Response) -> None:
    """Raise what a status of failure means."""
    if answer.is_error:
        reason = answer.reason_phrase
        if answer.request.method != "HEAD":
            with contextlib.suppress(ValueError, AttributeError):
                reason = str(json.loads(answer.content)["error"])
        refuse(reason, answer.status_code)


def refuse(reason: str, status: int | None = None) -> NoReturn:
    """Raise what a server's complaint means."""
    text = reason.strip().rstrip(".")[:500]
    raise _error_of(text, text.lower(), status)


def _error_of(text: str, lower: str, status: int | None) -> AIForgeError:
    if "no space left" in lower or "disk full" in lower or status == 507:
        return Unavailable(
            f"The disk of the Ollama server is full ({text}); delete models there.",
            code="ollama_disk_full",
            retryAfter=60,
        )
    if status == 404 or ("model" in lower and "not found" in lower):
        return NotFound(f"Ollama says: {text}.", code="ollama_model_missing")
    if status in (429, 502, 503, 504):
        return Unavailable(
            f"The Ollama server is busy: {text}.",
            code="ollama_busy",
            retryAfter=RETRY_AFTER_SECONDS,
        )
    return Failure(f"The Ollama server failed: {text}.", code="ollama_failed")


def parsed(line: bytes) -> dict[str, Any]:
    """One object of an answer; an error inside it is raised, whatever the status was."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise interrupted("its answer is no JSON") from error
    if not isinstance(found, dict):
        raise interrupted("its answer is no JSON object")
    if found.get("error"):
        refuse(str(found["error"]))
    return found


def split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a stream, none of them longer than is sane."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(bytes.strip, lines)
        if len(rest) > _LONGEST_LINE:
            raise interrupted("a line of its answer has no end")
    if rest.strip():
        yield rest
