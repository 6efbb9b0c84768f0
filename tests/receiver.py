"""A receiver of webhooks that verifies every delivery with the specification's own library."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response

Answer = Callable[[int], Response]


class Receiver:
    """An ASGI application; ``secrets`` are tried in turn, as a receiver does while it rotates."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = list(secrets)
        self.answer: Answer = lambda number: Response(status_code=204)
        self.seen: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.ids: Counter[str] = Counter()
        self.bodies: dict[str, bytes] = {}
        self.delay = 0.0
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        if self.delay:
            await asyncio.sleep(self.delay)
        with self._lock:
            answer = self._take(dict(request.headers), body)
        await answer(scope, receive, send)

    def _take(self, headers: dict[str, str], body: bytes) -> Response:
        message_id = headers.get("webhook-id", "")
        for secret in self.secrets:
            try:
                content = Webhook(secret).verify(body, headers)
            except WebhookVerificationError as error:
                reason = str(error)
                continue
            self.ids[message_id] += 1
            # A repetition says the same under the same id.
            assert self.bodies.setdefault(message_id, body) == body
            self.seen.append(content | {"id": message_id})
            return self.answer(len(self.seen))
        self.refused.append(reason)
        return Response(status_code=400)
