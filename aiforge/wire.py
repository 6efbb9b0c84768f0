"""Calls between processes of one machine, over a Unix socket.

Ray reaches any process of a cluster and pays about a millisecond for a call. What a request of
the API has to ask on the same machine goes this way in a tenth of that. It is a short cut and no
more: a caller that finds nobody, or loses the connection, takes Ray's way.

A frame is the length of its content, the number of its call, and the pickled content. Only
processes of the same user may connect: the directory and the socket are that user's alone, and
either end asks the kernel who the other one is before it reads a byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import os
import pickle
import socket
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

_HEADER = struct.Struct("!IQ")
_CREDENTIALS = struct.Struct("3i")

MOST_BYTES = 256 << 20
"""Of one frame; a longer one ends the connection."""

PAUSE_SECONDS = 1.0
"""Between two attempts to connect."""

STALE_SECONDS = 86_400.0
"""After this time a socket that nobody listens to is removed."""

Handler = Callable[[Any], Any | Awaitable[Any]]
"""Gives the answer to a call, at once or later; raises nothing that it cannot help."""

_log = logging.getLogger(__name__)


class LineDownError(Exception):
    """Nobody is at the other end, or went away before the answer: the call may have happened."""


def address(*identity: str) -> Path:
    """Where the processes of one platform meet.

    Args:
        identity: What tells them from all others, such as home and namespace.

    Raises:
        OSError: The directory for it is not this user's alone.
    """
    name = hashlib.sha256("\x00".join(identity).encode()).hexdigest()[:24]
    return private_directory() / f"{name}.sock"


def private_directory() -> Path:
    """Where the platforms of one user on one machine find each other.

    Raises:
        OSError: It is not this user's alone.
    """
    directory = Path(tempfile.gettempdir()) / f"aiforge-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_own or found.st_mode & 0o077:
        raise PermissionError(f"{directory} is not a directory of this user alone; remove it.")
    return directory


def listen(path: Path, handler: Handler) -> None:
    """Answer calls from now on, in a thread with an event loop of its own.

    Whoever listened there before is not heard any more.

    Raises:
        OSError: The socket cannot be made.
    """
    _sweep(path.parent)
    own = path.with_suffix(f".{os.getpid()}")
    own.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(own))
    own.chmod(0o600)
    listener.listen(128)
    own.rename(path)
    threading.Thread(
        target=asyncio.run, args=(_serve(listener, handler),), name="wire", daemon=True
    ).start()


def _sweep(directory: Path) -> None:
    """Remove what processes that are long gone left: a killed one leaves its socket."""
    for path in directory.glob("*.sock"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if time.time() - path.lstat().st_mtime < STALE_SECONDS:
                continue
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


async def _serve(listener: socket.socket, handler: Handler) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: _Answering(handler), sock=listener)
    await server.serve_forever()


class _Framed(asyncio.Protocol):
    """Cuts what arrives into frames, once the other end has shown who it is."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports, which Ray's processes have, are of no class of asyncio's.
        opened = cast("asyncio.Transport", transport)
        if _user_of(opened.get_extra_info("socket").fileno()) != os.getuid():
            _log.warning("A process of another user wanted to connect.")
            opened.abort()
            return
        self.transport = opened

    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            return
        self._received += data
        begin = 0
        while len(self._received) - begin >= _HEADER.size:
            length, call = _HEADER.unpack_from(self._received, begin)
            if length > MOST_BYTES:
                self.transport.abort()
                return
            end = begin + _HEADER.size + length
            if len(self._received) < end:
                break
            self.frame_received(call, bytes(self._received[begin + _HEADER.size : end]))
            begin = end
        del self._received[:begin]

    def frame_received(self, call: int, content: bytes) -> None:
        raise NotImplementedError

    def send(self, call: int, value: Any) -> None:
        """Send one frame; one that cannot be sent is dropped with its connection."""
        content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_HEADER.pack(len(content), call) + content)


def _user_of(descriptor: int) -> int:
    """Who is at the other end of a socket, which the event loop goes on owning."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


class _Answering(_Framed):
    """The end that is called."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()

    def frame_received(self, call: int, content: bytes) -> None:
        answer = self._handler(pickle.loads(content))  # noqa: S301 - from a process of this user
        if not inspect.isawaitable(answer):
            self.send(call, answer)
            return
        task = asyncio.ensure_future(self._answer_later(call, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, call: int, answer: Awaitable[Any]) -> None:
        try:
            self.send(call, await answer)
        except Exception:
            # The caller takes the other way, and hears there what is wrong.
            _log.exception("A call could not be answered.")
            if self.transport is not None:
                self.transport.abort()


class _Asking(_Framed):
    """The end that calls."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    @property
    def is_open(self) -> bool:
        """Whether calls can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    async def call(self, value: Any) -> Any:
        """The answer to one call; any number may be under way."""
        if not self.is_open:
            raise LineDownError
        self._last += 1
        answer = self._waiting[self._last] = asyncio.get_running_loop().create_future()
        number = self._last
        try:
            self.send(number, value)
            return await answer
        finally:
            self._waiting.pop(number, None)

    def frame_received(self, call: int, content: bytes) -> None:
        answer = self._waiting.get(call)
        if answer is not None and not answer.done():
            answer.set_result(pickle.loads(content))  # noqa: S301 - as above

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LineDownError())


class Line:
    """A connection to whoever listens at an address, made anew when it broke.

    Args:
        path: As ``address`` gives it.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._asking: asyncio.Future[_Asking] | None = None
        self._again = 0.0

    async def call(self, value: Any) -> Any:
        """The answer to a call.

        Raises:
            LineDownError: There is no connection, or it broke before the answer came.
        """
        return await (await self._connected()).call(value)

    async def _connected(self) -> _Asking:
        """The connection; calls that come while it is made wait for the same one."""
        if self._asking is not None and self._asking.get_loop() is asyncio.get_running_loop():
            if not self._asking.done():
                return await asyncio.shield(self._asking)
            if self._asking.exception() is None and self._asking.result().is_open:
                return self._asking.result()
        if time.monotonic() < self._again:
            raise LineDownError
        self._again = time.monotonic() + PAUSE_SECONDS
        self._asking = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._asking)

    async def _connect(self) -> _Asking:
        loop = asyncio.get_running_loop()
        try:
            _, asking = await loop.create_unix_connection(_Asking, self._path)
        except OSError as error:
            raise LineDownError from error
        return asking
