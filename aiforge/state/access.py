"""How the rest of the platform reaches the state: ``await state.call(runs.get, run_id)``."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from aiforge.errors import AIForgeError
from aiforge.schemas.access import Origin
from aiforge.schemas.runs import Event
from aiforge.state import events
from aiforge.state.store import RequestKey, Store

P = ParamSpec("P")
T = TypeVar("T")

Op = Callable[Concatenate[Connection, P], T]

log = logging.getLogger(__name__)


def idempotency_key(principal: str, route: str, key: str, body: bytes) -> RequestKey:
    """The request key of a client's ``Idempotency-Key``, for ``State.once``.

    Args:
        principal: Who asks; keys of different clients never meet.
        route: Method and path, so that one key can serve different routes.
        body: The request's body; the same key with another body is refused.
    """
    identity = "\x00".join((principal, route, key)).encode()
    return RequestKey(
        f"client-{hashlib.sha256(identity).hexdigest()}", hashlib.sha256(body).hexdigest()
    )


class State(ABC):
    """Access to the state, wherever it lives.

    Operations are the functions that ``aiforge.state`` marks with ``@read`` or ``@write``; each
    is one transaction, and a write that is retried after a crash happens once.
    """

    @abstractmethod
    async def call(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Carry out an operation.

        Raises:
            AIForgeError: What the operation raises, as the same class.
            Unavailable: The state or its database cannot be reached (``state_unavailable``).
        """

    @abstractmethod
    def call_sync(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``call``, from a thread without an event loop."""

    @abstractmethod
    def send(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Carry out a write and wait for nothing; a failure is lost but for the log."""

    @abstractmethod
    async def wait(
        self, timeout: float, topic: str | None, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Repeat a read at each commit that touches the topic until its result is true.

        Args:
            timeout: Seconds after which the result is returned as it is.
            topic: A resource's id; ``None`` for all.
        """

    async def probe(self) -> None:
        """Return once the writer has answered.

        Raises:
            Unavailable: It does not, or its database does not.
        """
        await self.call(events.latest)

    @abstractmethod
    def once(self, key: RequestKey | None) -> State:
        """The same state, whose writes happen once for this key; for a single write only."""

    @abstractmethod
    def on_behalf(self, origin: Origin) -> State:
        """The same state, whose writes are put into the audit trail under who asked."""

    async def wait_events(
        self, after: int, timeout: float, *, resource_id: str | None = None, limit: int = 500
    ) -> list[Event]:
        """The events after a sequence number, as soon as there is one (long poll).

        Args:
            timeout: Seconds after which an empty list is returned.
        """
        return await self.wait(timeout, resource_id, events.after, after, resource_id, limit)


class LocalState(State):
    """The state in this very process, for tests and tools."""

    def __init__(
        self, store: Store, key: RequestKey | None = None, origin: Origin | None = None
    ) -> None:
        self.store = store
        self._key = key
        self._origin = origin

    async def call(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.store.call(op, args, kwargs, self._key, self._origin)

    def call_sync(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.store.run(op, args, kwargs, self._key, self._origin)

    def send(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            self.call_sync(op, *args, **kwargs)
        except AIForgeError as error:
            log.warning("A report was not stored: %s", error.message)

    async def wait(
        self, timeout: float, topic: str | None, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self.store.wait(op, args, kwargs, topic, timeout)

    def once(self, key: RequestKey | None) -> State:
        return self if key is None else LocalState(self.store, key, self._origin)

    def on_behalf(self, origin: Origin) -> State:
        return LocalState(self.store, self._key, origin)
