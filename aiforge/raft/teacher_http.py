"""One OpenAI-compatible endpoint: many requests at a time, retried with patience."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import random
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from aiforge.addresses import check_literal, is_proxied, resolve
from aiforge.errors import AIForgeError, Failure, InvalidInput, Unavailable
from aiforge.raft.teacher_cache import Reply
from aiforge.schemas.datasets import TeacherConfig

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
# An endpoint may ask for this much patience; beyond it another day is meant.
_MOST_PATIENCE = 600.0
_MAX_REPLY_BYTES = 4 << 20
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Address:
    """Where an endpoint takes chat completions, after its check."""

    url: str
    host: str
    port: int
    trusted: bool


def parse_endpoint(url: str, trusted_hosts: Collection[str]) -> Address:
    """Check an endpoint's address, without any network access.

    ``https`` is accepted of every host, ``http`` only of trusted ones.

    Args:
        trusted_hosts: ``host`` or ``host:port`` that may have private addresses.

    Raises:
        InvalidInput: ``url_invalid``, ``url_has_credentials`` or ``url_not_allowed``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused(f"{url!r} is no URL: {error}.", "url_invalid") from error
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise _refused(f"{url!r} is no http or https URL.", "url_invalid")
    if parts.username is not None or parts.password is not None:
        raise _refused(
            "The URL holds credentials, which would be stored and shown. Leave them out and have "
            "the operator bind an environment variable to the host.",
            "url_has_credentials",
        )
    if parts.query or parts.fragment:
        raise _refused(f"{url!r} holds a query or a fragment; leave it out.", "url_invalid")
    port = port or (443 if parts.scheme == "https" else 80)
    trusted = host in trusted_hosts or f"{host}:{port}" in trusted_hosts
    if not trusted:
        if parts.scheme == "http":
            raise _refused(
                f"{host}:{port} may only be asked over https; for http, and for hosts with "
                f'private addresses, the operator names it: AIFORGE_TEACHER_HOSTS=["{host}"].',
                "url_not_allowed",
            )
        check_literal(host)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions" if path.endswith("/v1") else "/v1/chat/completions"
    return Address(f"{parts.scheme}://{parts.netloc}{path}", host, port, trusted)


def key_variable(config: TeacherConfig, address: Address, bound: Mapping[str, str]) -> str | None:
    """The environment variable whose key an endpoint gets; ``None`` for no key.

    Only what the operator bound to a host is ever sent there, or anyone who may build datasets
    could have any variable sent anywhere.

    Raises:
        InvalidInput: ``key_not_bound``, or ``key_missing`` where the variable is not set.
    """
    name = bound.get(f"{address.host}:{address.port}") or bound.get(address.host)
    if config.api_key_env not in (None, name):
        raise InvalidInput(
            f"The variable {config.api_key_env} may not be sent to {address.host}. The operator "
            f'binds it: AIFORGE_TEACHER_KEYS={{"{address.host}": "{config.api_key_env}"}}.',
            code="key_not_bound",
            field="teacher.apiKeyEnv",
        )
    if name and not os.environ.get(name):
        raise InvalidInput(
            f"The environment variable {name}, which holds the key for {address.host}, is not set "
            "where the platform runs. Set it and start the platform again.",
            code="key_missing",
            field="teacher.apiKeyEnv",
        )
    return name


def _refused(message: str, code: str) -> InvalidInput:
    return InvalidInput(message, code=code, field="teacher.url")


class NoAnswer(Exception):
    """An endpoint did not answer one request, in words for the yield report."""

    def __init__(self, reason: str, retries: int = 0) -> None:
        super().__init__(reason)
        self.retries = retries


class _Pinned(AbstractResolver):
    """Knows one host, by the addresses that were checked."""

    def __init__(self, host: str, addresses: list[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The checked addresses; nothing for any other host."""
        if host != self._host:
            raise OSError(f"{host} was not checked")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class Endpoint:
    """Sends chat completions; an async context manager.

    Not by httpx: its pool looks at every connection for each request, which at 64 slots costs ten
    times as much as the request itself.

    Args:
        key_env: Variable that holds the key.
    """

    def __init__(self, address: Address, config: TeacherConfig, key_env: str | None) -> None:
        self._address = address
        self._config = config
        self._headers = {"Content-Type": "application/json"}
        if key_env:
            self._headers["Authorization"] = f"Bearer {os.environ.get(key_env, '')}"
        self._session: aiohttp.ClientSession | None = None
        self._not_before = 0.0
        self._rng = random.Random()

    async def __aenter__(self) -> Self:
        """Resolve and check the host, to whose addresses every connection is pinned.

        Raises:
            InvalidInput: ``url_not_allowed``.
            Failure: ``host_unknown``.
        """
        address, seconds = self._address, self._config.timeout_seconds
        proxied = is_proxied() and not address.trusted
        resolver = None
        if not proxied:
            found = await asyncio.to_thread(
                resolve, address.host, address.port, trusted=address.trusted
            )
            resolver = _Pinned(address.host, found)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._config.slots, resolver=resolver),
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(30.0, seconds)),
            headers=self._headers,
            trust_env=proxied,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def complete(self, body: bytes) -> tuple[Reply, int]:
        """The reply to a chat completion, and how often it was asked for again.

        Raises:
            NoAnswer: The endpoint stayed busy or away, or its answer holds no reply.
            Failure: It refuses to work at all (``teacher_refused``): a key, a model or a
                parameter is wrong, so that no other request would fare better.
        """
        for attempt in range(self._config.max_retries + 1):
            await self._wait(attempt)
            try:
                status, headers, data = await self._send(body)
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = f"the teacher cannot be reached ({type(error).__name__})"
                continue
            if status == 200:
                return _reply(data, body), attempt
            if status not in _RETRIED:
                raise self._refusal(status, data)
            reason = f"the teacher answered HTTP {status}"
            self._heed(headers.get("Retry-After", ""))
        raise NoAnswer(reason, self._config.max_retries)

    async def _send(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None
        url = self._address.url
        async with self._session.post(url, data=body, allow_redirects=False) as response:
            data = bytearray()
            async for part in response.content.iter_any():
                data += part
                if len(data) > _MAX_REPLY_BYTES:
                    raise NoAnswer("the teacher's answer is larger than 4 MiB")
            return response.status, response.headers, bytes(data)

    async def _wait(self, attempt: int) -> None:
        """Wait before an attempt: longer each time, and as long as the endpoint asked for."""
        now = time.monotonic()
        wait = self._not_before - now
        if attempt:
            most = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
            wait = max(wait + self._rng.uniform(0, _FIRST_WAIT), self._rng.uniform(most / 2, most))
        if wait > 0:
            await asyncio.sleep(wait)

    def _heed(self, retry_after: str) -> None:
        """Let no request go out before the endpoint wants to hear of it again."""
        if seconds := _retry_after(retry_after):
            until = time.monotonic() + min(seconds, _MOST_PATIENCE)
            self._not_before = max(self._not_before, until)

    def _refusal(self, status: int, data: bytes) -> AIForgeError:
        said = " ".join(data.decode(errors="replace").split())[:300]
        remedy = {
            401: "Check the key of the host",
            403: "Check the key of the host",
            404: "Check teacher.url and teacher.model",
        }.get(status, "Check teacher.model, or set teacher.structured to false")
        return Failure(
            f"The teacher {self._config.model} at {self._address.host} refuses with HTTP {status}: "
            f"{said or 'no reason given'}. {remedy}. Replies so far are kept.",
            code="teacher_refused",
            status=status,
        )


def unreachable(config: TeacherConfig, address: Address, reason: str) -> AIForgeError:
    """The error of an endpoint that answers nobody."""
    return Unavailable(
        f"The teacher {config.model} at {address.host}:{address.port} answers no request: "
        f"{reason}. Start it, then generate again: replies so far are kept.",
        code="teacher_unreachable",
        retryAfter=30,
    )


def _reply(data: bytes, asked: bytes) -> Reply:
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        text = choice["message"]["content"]
        use = body.get("usage") or {}
        counts = int(use.get("prompt_tokens") or 0), int(use.get("completion_tokens") or 0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise NoAnswer("the teacher's answer is no chat completion") from error
    if not isinstance(text, str):
        raise NoAnswer("the teacher's answer holds no text")
    if not counts[0]:
        guess = len(asked) // _BYTES_PER_TOKEN, len(text.encode()) // _BYTES_PER_TOKEN
        return Reply(text, *guess, estimated=True)
    return Reply(text, *counts)


def _retry_after(value: str) -> float:
    """Seconds that a ``Retry-After`` header asks for; 0 where there is none."""
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
