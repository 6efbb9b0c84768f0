"""Sends what is due to the receivers of webhooks: each in a lane of its own.

The sender keeps nothing that it cannot read again, so it may die at any moment: an attempt whose
outcome was not written down is made once more, under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
from standardwebhooks.webhooks import Webhook as Signer

from aiforge import __version__
from aiforge.addresses import resolve
from aiforge.errors import AIForgeError
from aiforge.schemas.webhooks import (
    Attempt,
    DeliveryStatus,
    Endpoint,
    Outgoing,
    WebhookStatus,
)
from aiforge.services.passes import repeat
from aiforge.state import deliveries, webhooks
from aiforge.state.access import State
from aiforge.state.deliveries import Result
from aiforge.state.schema import now

SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
)
"""The waits between the ten attempts that the specification advises."""

JITTER = 0.1
"""A wait is longer by up to this share, so that receivers that come back are not run over."""

LONGEST_WAIT = timedelta(hours=24)
"""What a receiver's ``Retry-After`` can ask for at most."""

BATCH = 50
AT_ONCE = 8
"""Deliveries that are under way to one receiver at a time."""

CONNECT_SECONDS = 5.0
ATTEMPT_SECONDS = 15.0
LARGEST_ANSWER = 1 << 16
LOOK_SECONDS = 2.0
"""How often the sender looks for retries that have become due."""

PURGE_SECONDS = 3600.0
_PAUSES = (0.0, 5.0, 15.0, 30.0)
"""How long a lane rests after so many batches of which nothing could be delivered."""

GONE = 410
MOST_ADDRESSES = 3
"""Addresses of one host that are tried, where the first ones cannot be connected to."""

_log = logging.getLogger(__name__)


class Sender:
    """Turns events into deliveries and delivers them, until the process ends.

    Args:
        trusted_hosts: Hosts that may have private addresses, and be reached by HTTP.
        work: What a batch is delivered within; it may hold one up before it begins.
    """

    def __init__(
        self,
        state: State,
        trusted_hosts: Collection[str],
        work: Callable[[], contextlib.AbstractAsyncContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._state = state
        self._work = work
        self._trusted = frozenset(trusted_hosts)
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._purge_due = time.monotonic() + PURGE_SECONDS

    async def run(self) -> None:
        """Work until the process ends; no error ends it."""
        await repeat(self.tick, "sender of webhooks", _log)

    async def tick(self, timeout: float = LOOK_SECONDS) -> None:
        """One pass: wait until there is something to do, and begin it."""
        busy = sorted(self._lanes)
        agenda = await self._state.wait(timeout, None, deliveries.agenda, busy)
        if agenda is not None:
            if agenda.has_events:
                await self._expand()
            for webhook_id in agenda.due:
                self._lanes[webhook_id] = asyncio.create_task(self._serve(webhook_id))
        if time.monotonic() >= self._purge_due:
            self._purge_due = time.monotonic() + PURGE_SECONDS
            await self._state.call(deliveries.purge)

    async def _expand(self) -> None:
        seen = 1
        while seen:
            seen = await self._state.call(deliveries.expand)

    async def settle(self) -> None:
        """Wait until every lane has sent what was due."""
        while self._lanes:
            await asyncio.gather(*self._lanes.values())

    async def _serve(self, webhook_id: str) -> None:
        """Send what is due to one receiver; however slow it is, it holds up no other."""
        try:
            limits = httpx.Limits(max_connections=AT_ONCE)
            timeout = httpx.Timeout(ATTEMPT_SECONDS, connect=CONNECT_SECONDS)
            # No proxy of the environment: it would resolve the name once more, unchecked.
            async with httpx.AsyncClient(
                limits=limits, timeout=timeout, follow_redirects=False, trust_env=False
            ) as client:
                await self._drain(client, webhook_id)
        except AIForgeError as error:
            _log.warning("Deliveries of %s wait: %s", webhook_id, error.message)
            await asyncio.sleep(1)
        except Exception:
            _log.exception("Deliveries of %s failed", webhook_id)
            await asyncio.sleep(1)
        finally:
            self._lanes.pop(webhook_id, None)

    async def _drain(self, client: httpx.AsyncClient, webhook_id: str) -> None:
        failures = 0
        while True:
            async with self._work():
                delivered = await self._deliver_batch(client, webhook_id)
            if delivered is None:
                return
            failures = 0 if delivered else failures + 1
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)] if failures else 0)

    async def _deliver_batch(self, client: httpx.AsyncClient, webhook_id: str) -> bool | None:
        """Whether any of what is due arrived; ``None`` where no batch is to follow."""
        endpoint = await self._state.call(webhooks.endpoint, webhook_id)
        batch = await self._state.call(deliveries.due, webhook_id, BATCH)
        if endpoint is None or not batch:
            return None
        slots = asyncio.Semaphore(AT_ONCE)
        results = await asyncio.gather(
            *(self._deliver(client, endpoint, outgoing, slots) for outgoing in batch)
        )
        await self._state.call(deliveries.record, [result for result, _ in results])
        if any(status == GONE for _, status in results):
            reason = "The receiver answered 410 Gone."
            await self._state.call(webhooks.change, webhook_id, WebhookStatus.DISABLED, reason)
            return None
        return any(result.status is DeliveryStatus.DELIVERED for result, _ in results)

    async def _deliver(
        self,
        client: httpx.AsyncClient,
        endpoint: Endpoint,
        outgoing: Outgoing,
        slots: asyncio.Semaphore,
    ) -> tuple[Result, int | None]:
        async with slots:
            begun = time.perf_counter()
            status, error, wait = await self._attempt(client, endpoint, outgoing)
            took = 1000 * (time.perf_counter() - begun)
        attempt = Attempt(at=now(), status=status, error=error, milliseconds=round(took, 1))
        return _result(outgoing, attempt, wait), status

    async def _attempt(
        self, client: httpx.AsyncClient, endpoint: Endpoint, outgoing: Outgoing
    ) -> tuple[int | None, str | None, timedelta]:
        """The receiver's status, what went wrong, and how long it asks to be left alone."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await self._send(client, endpoint, outgoing)
        except TimeoutError:
            return None, f"No answer within {ATTEMPT_SECONDS:g} s.", timedelta()
        except AIForgeError as refusal:
            return None, refusal.message, timedelta()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as fault:
            return None, f"{type(fault).__name__}: {fault}"[:300], timedelta()
        if answer.is_success:
            return answer.status_code, None, timedelta()
        reason = "Redirects are not followed." if answer.is_redirect else "Not a 2xx status."
        return answer.status_code, reason, _asked_wait(answer.headers.get("retry-after", ""))

    async def _send(
        self, client: httpx.AsyncClient, endpoint: Endpoint, outgoing: Outgoing
    ) -> httpx.Response:
        """Send a delivery to an address that was checked just now and is used as it is."""
        url = urlsplit(endpoint.url)
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.to_thread(resolve, host, port, trusted=host in self._trusted)
        body = payload(outgoing)
        headers = sign(endpoint.secrets, outgoing.id, body) | {
            "Host": url.netloc,
            "Content-Type": "application/json",
            "User-Agent": f"AIForge-Webhooks/{__version__}",
        }
        *others, last = found[:MOST_ADDRESSES]
        for address in others:
            with contextlib.suppress(httpx.ConnectError):
                return await _answer(client, _request(client, endpoint, address, body, headers))
        return await _answer(client, _request(client, endpoint, last, body, headers))


def _request(
    client: httpx.AsyncClient,
    endpoint: Endpoint,
    address: str,
    body: str,
    headers: dict[str, str],
) -> httpx.Request:
    """A request to one address; TLS still asks for the certificate of the host's name."""
    url = httpx.URL(endpoint.url)
    return client.build_request(
        "POST",
        url.copy_with(host=address),
        content=body.encode(),
        headers=headers,
        extensions={"sni_hostname": url.host},
    )


async def _answer(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    answer = await client.send(request, stream=True)
    try:
        await _read_some(answer)
    finally:
        await answer.aclose()
    return answer


async def _read_some(answer: httpx.Response) -> None:
    """Read an answer to its end, or as far as it is small; nothing in it matters."""
    read = 0
    async for chunk in answer.aiter_raw():
        read += len(chunk)
        if read > LARGEST_ANSWER:
            return


def payload(outgoing: Outgoing) -> str:
    """What a delivery says; the same in every attempt."""
    data = outgoing.data | {"resourceId": outgoing.resource_id}
    if outgoing.event_sequence is not None:
        data["sequence"] = outgoing.event_sequence
    moment = outgoing.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(
        {"type": outgoing.event_type, "timestamp": moment, "data": data},
        separators=(",", ":"),
    )


def sign(secrets: Collection[str], message_id: str, body: str) -> dict[str, str]:
    """The headers of the specification, with a signature for each secret that is valid."""
    moment = now()
    signatures = [Signer(secret).sign(message_id, moment, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _result(outgoing: Outgoing, attempt: Attempt, wait: timedelta) -> Result:
    if attempt.error is None:
        return Result(delivery_id=outgoing.id, attempt=attempt, status=DeliveryStatus.DELIVERED)
    if outgoing.tries >= len(SCHEDULE):
        return Result(delivery_id=outgoing.id, attempt=attempt, status=DeliveryStatus.FAILED)
    pause = max(SCHEDULE[outgoing.tries] * (1 + JITTER * random.random()), wait)
    return Result(
        delivery_id=outgoing.id,
        attempt=attempt,
        status=DeliveryStatus.PENDING,
        next_attempt_at=attempt.at + pause,
    )


def _asked_wait(retry_after: str) -> timedelta:
    if not (retry_after.isascii() and retry_after.isdecimal()):
        return timedelta()
    return min(timedelta(seconds=int(retry_after[:9])), LONGEST_WAIT)
