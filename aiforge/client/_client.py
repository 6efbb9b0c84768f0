"""The two clients: ``AIForge`` blocks, ``AsyncAIForge`` awaits; they do the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import httpx

from aiforge import __version__
from aiforge.client._flow import AsyncDriver, Driver
from aiforge.client._resources import (
    Artifacts,
    AsyncArtifacts,
    AsyncAudit,
    AsyncChat,
    AsyncDatasets,
    AsyncExports,
    AsyncJobs,
    AsyncKeys,
    AsyncMissions,
    AsyncModels,
    AsyncSources,
    AsyncSystem,
    AsyncWebhooks,
    Audit,
    Chat,
    Datasets,
    Exports,
    Jobs,
    Keys,
    Missions,
    Models,
    Sources,
    System,
    Webhooks,
)
from aiforge.client._retry import RetryPolicy
from aiforge.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:8000"


class AIForge:
    """A client of one AI Forge server; use it as a context manager or ``close()`` it.

    >>> with AIForge() as forge:
    ...     source = forge.sources.create_git("https://github.com/owner/repository").wait()
    ...     dataset = forge.datasets.generate("first", [source.id]).wait()
    ...     job = forge.jobs.fine_tune("first", dataset.id, "forge-tiny").wait()

    Args:
        base_url: Address of the server; ``AIFORGE_URL``, else the one of a local platform.
        api_key: An API key or a JSON Web Token, sent as a bearer token; ``AIFORGE_API_KEY`` when
            absent.
        timeout: Seconds to wait for an answer.
        retry: What is tried again, and how often.
        transport: Carries the requests instead of the network, in tests for example.
        headers: Sent with every request.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._http = httpx.Client(
            transport=transport, **_options(base_url, api_key, timeout, headers)
        )
        driver = Driver(self._http, (retry or RetryPolicy()).flow)
        self.sources = Sources(driver)
        self.datasets = Datasets(driver)
        self.jobs = Jobs(driver)
        self.exports = Exports(driver)
        self.models = Models(driver)
        self.chat = Chat(driver)
        self.keys = Keys(driver)
        self.audit = Audit(driver)
        self.missions = Missions(driver)
        self.artifacts = Artifacts(driver)
        self.system = System(driver)
        self.webhooks = Webhooks(driver)

    @property
    def base_url(self) -> str:
        """Address of the server."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> AIForge:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"


class AsyncAIForge:
    """The client for asynchronous programs; its arguments are those of ``AIForge``."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            transport=transport, **_options(base_url, api_key, timeout, headers)
        )
        driver = AsyncDriver(self._http, (retry or RetryPolicy()).flow)
        self.sources = AsyncSources(driver)
        self.datasets = AsyncDatasets(driver)
        self.jobs = AsyncJobs(driver)
        self.exports = AsyncExports(driver)
        self.models = AsyncModels(driver)
        self.chat = AsyncChat(driver)
        self.keys = AsyncKeys(driver)
        self.audit = AsyncAudit(driver)
        self.missions = AsyncMissions(driver)
        self.artifacts = AsyncArtifacts(driver)
        self.system = AsyncSystem(driver)
        self.webhooks = AsyncWebhooks(driver)

    @property
    def base_url(self) -> str:
        """Address of the server."""
        return str(self._http.base_url).rstrip("/")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncAIForge:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"


def _options(
    base_url: str | None, api_key: str | None, timeout: float, headers: Mapping[str, str] | None
) -> dict[str, Any]:
    address = base_url or os.environ.get("AIFORGE_URL") or DEFAULT_URL
    url = _url(address)
    sent = {"User-Agent": f"aiforge-python/{__version__}"} | dict(headers or {})
    key = api_key or os.environ.get("AIFORGE_API_KEY")
    if key:
        sent["Authorization"] = f"Bearer {key}"
    return {
        "base_url": url,
        "headers": sent,
        "timeout": httpx.Timeout(timeout, connect=min(5.0, timeout)),
        # A proxy of the environment has no business between a client and its own machine.
        "trust_env": url.host not in ("127.0.0.1", "localhost", "::1"),
    }


def _url(address: str) -> httpx.URL:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(
            f"{address!r} is no address of a server; write it as {DEFAULT_URL}.", code="bad_url"
        )
    return url
