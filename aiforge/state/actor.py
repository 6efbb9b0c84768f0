"""The state as a detached actor, the single writer of the database, and its client.

The actor holds nothing that it cannot read again. Ray starts it anew after a crash and repeats
the calls that were under way; the request id of a write makes the repetition harmless. A client
on the actor's machine may ask over a Unix socket, and asks through Ray where that fails.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from sqlalchemy import make_url

from aiforge import logs, redaction, wire
from aiforge.errors import AIForgeError, InternalError, Unavailable
from aiforge.schemas.access import Origin
from aiforge.settings import Settings
from aiforge.state import events, leases, ray_settings
from aiforge.state.access import Op, State
from aiforge.state.leases import Lease
from aiforge.state.ops import mode_of, name_of, resolve
from aiforge.state.store import RequestKey, Store
from aiforge.wire import Line, LineDownError

P = ParamSpec("P")
T = TypeVar("T")

NAME = "state"
CALL_SECONDS = 30.0
START_SECONDS = 120.0
"""How long the actor may take to be there: on a busy machine its imports alone take half of it."""

MOST_CALLS = 10_000
"""Calls that may be under way at once; each client of an event stream holds one."""

_log = logging.getLogger(__name__)


Call = tuple[str, tuple[Any, ...], dict[str, Any], RequestKey, Origin | None]
"""The arguments of ``Writer.call``."""


@dataclass(frozen=True)
class Reply:
    """What an operation gave; an error crosses as a value, so that it arrives as its own class."""

    value: Any = None
    error: AIForgeError | None = None


class Writer:
    """Carries out the operations that its clients name.

    Args:
        home: Of the platform; with the database it says where clients on this machine find it.
    """

    def __init__(self, database_url: str, home: str) -> None:
        redaction.install()
        self._store = Store(database_url, Lease(f"{socket.gethostname()}:{home}"))
        redaction.learn([make_url(database_url).password])
        threading.Thread(target=self._keep_lease, daemon=True).start()
        with suppress(OSError):
            wire.listen(_address(home, database_url), self._hear)

    def _keep_lease(self) -> None:
        """A state that nobody asks to write stays the one that may."""
        while True:
            try:
                self._store.hold()
            except AIForgeError as error:
                _log.warning("The state may not write: %s", error.message)
            time.sleep(leases.RENEW_AFTER.total_seconds())

    def _hear(self, call: Call) -> Reply | Awaitable[Reply]:
        """Carry out an operation that came over the wire.

        There is one writer anyway, so a write need not be handed to another thread.
        """
        name, args, kwargs, key, origin = call
        try:
            op = resolve(name)
            if mode_of(op) == "read":
                return self.call(*call)
            return Reply(self._store.run(op, args, kwargs, key, origin))
        except Exception as error:
            return _failed(name, error)

    async def call(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: RequestKey,
        origin: Origin | None = None,
    ) -> Reply:
        """Carry out one operation, once per key."""
        return await self._reply(name, lambda op: self._store.call(op, args, kwargs, key, origin))

    async def wait(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        topic: str | None,
        timeout: float,
    ) -> Reply:
        """Repeat a read as commits come in until its result is true."""
        return await self._reply(
            name, lambda op: self._store.wait(op, args, kwargs, topic, timeout)
        )

    async def _reply(self, name: str, carry_out: Callable[[Callable[..., Any]], Any]) -> Reply:
        try:
            return Reply(await carry_out(resolve(name)))
        except Exception as error:
            return _failed(name, error)


class StateActor(Writer):
    """The writer with what concerns its being an actor."""

    def __init__(self, settings: Settings) -> None:
        settings = ray_settings.current(settings)
        logs.install(settings, "state")
        super().__init__(settings.resolved_database_url, str(settings.home))


def _failed(name: str, error: Exception) -> Reply:
    if isinstance(error, AIForgeError):
        return Reply(error=error)
    reference = uuid.uuid4().hex[:12]
    _log.error("Operation %s failed, reference %s", name, reference, exc_info=error)
    told = f"The state failed at {name}; its log has the trace under {reference}."
    return Reply(error=InternalError(told))


@dataclass
class _Found:
    """What the copies of one client share: the handle, and a line where one leads there."""

    handle: Any = None
    line: Line | None = None


@dataclass
class RayState(State):
    """Reaches the actor by its name, from any process of the cluster; picklable."""

    namespace: str
    key: RequestKey | None = None
    timeout: float = CALL_SECONDS
    origin: Origin | None = None
    _found: _Found = field(default_factory=_Found, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_found": _Found()}

    async def call(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        call = self._call(op, args, kwargs)
        reply = await self._by_wire(call)
        if reply is None:
            # What the writer did before the wire broke, it does not do again: the key is the same.
            reply = await self._await(self._submit(call), self.timeout)
        return _value(reply)  # type: ignore[no-any-return]

    def call_sync(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            answer = self._submit(self._call(op, args, kwargs))
            reply = ray.get(answer, timeout=self.timeout)
        except (RayError, GetTimeoutError) as error:
            raise self._away(error) from error
        return _value(reply)  # type: ignore[no-any-return]

    def send(self, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            self._submit(self._call(op, args, kwargs))
        except AIForgeError as error:
            _log.warning("A report was not sent: %s", error.message)

    async def wait(
        self, timeout: float, topic: str | None, op: Op[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        answer = self._actor().wait.remote(name_of(op), args, kwargs, topic, timeout)
        reply = await self._await(answer, timeout + self.timeout)
        return _value(reply)  # type: ignore[no-any-return]

    def once(self, key: RequestKey | None) -> State:
        return replace(self, key=key) if key else self

    def on_behalf(self, origin: Origin) -> State:
        return replace(self, origin=origin)

    def _call(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return name_of(op), args, kwargs, self.key or RequestKey(uuid.uuid4().hex), self.origin

    def _submit(self, call: Call) -> Any:
        return self._actor().call.remote(*call)

    async def _by_wire(self, call: Call) -> Reply | None:
        """The answer of a writer on this machine; ``None`` where it has to be asked through Ray."""
        if self._found.line is None:
            return None
        try:
            async with asyncio.timeout(self.timeout):
                reply: Reply = await self._found.line.call(call)
        except LineDownError:
            return None
        except TimeoutError as error:
            raise self._away(error) from error
        return reply

    async def _await(self, answer: Any, seconds: float) -> Reply:
        try:
            async with asyncio.timeout(seconds):
                reply: Reply = await answer
        except (RayError, TimeoutError) as error:
            raise self._away(error) from error
        return reply

    def _actor(self) -> Any:
        if self._found.handle is None:
            try:
                self._found.handle = ray.get_actor(NAME, namespace=self.namespace)
            except (ValueError, RayError) as error:
                raise self._away(error) from error
        return self._found.handle

    def _away(self, error: Exception) -> Unavailable:
        if isinstance(error, RayActorError):
            # A new actor may have taken the name.
            self._found.handle = None
        return Unavailable(
            "The state of the platform does not answer; it restarts by itself, try again soon.",
            code="state_unavailable",
            retryAfter=5,
        )


def _value(reply: Reply) -> Any:
    if reply.error is not None:
        raise reply.error
    return reply.value


def start(settings: Settings) -> RayState:
    """Start the actor on the head node, or find the one that runs; returns once it answers.

    Raises:
        AIForgeError: The database cannot be opened, or another platform writes to it; the message
            says why.
    """
    actor = ray.remote(StateActor).options(
        name=NAME,
        namespace=settings.namespace,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources={"node:__internal_head__": 0.001},
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=MOST_CALLS,
    )
    handle = actor.remote(settings)
    state = RayState(settings.namespace)
    replace(state, timeout=START_SECONDS).call_sync(events.latest)
    try:
        _await_lease(state)
    except Unavailable as error:
        if error.code == leases.TAKEN:
            ray.kill(handle)
        raise
    return state


def _await_lease(state: RayState) -> None:
    """What a platform on a machine that is gone held ends by itself."""
    deadline = time.monotonic() + leases.LASTS.total_seconds() + 5
    while True:
        try:
            return state.call_sync(leases.confirm)
        except Unavailable as error:
            if error.code != leases.TAKEN or time.monotonic() > deadline:
                raise
            time.sleep(1)


def connect(settings: Settings, *, short_cut: bool = False) -> RayState:
    """The client of the actor that runs under the settings' namespace.

    Args:
        short_cut: Ask over a Unix socket where the actor is on this machine: ten times as quick,
            for whoever asks it for each request.
    """
    state = RayState(settings.namespace)
    if short_cut:
        with suppress(OSError):
            path = _address(str(settings.home), settings.resolved_database_url)
            state._found.line = Line(path)
    return state


def _address(home: str, database_url: str) -> Path:
    return wire.address("state", home, database_url)
