"""Free ports of this machine."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from aiforge.errors import Conflict, Failure, InvalidInput

_RANGES = range(20_000, 32_700, 100)
"""Above the ports of Ray's workers, below those that the system gives to clients."""


def require_free(host: str, port: int) -> None:
    """Refuse a port that something else listens on.

    Raises:
        Conflict: The port is in use.
        InvalidInput: The address does not belong to this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == 99:
                raise InvalidInput(
                    f"This machine has no address {host}; use 127.0.0.1.", code="bad_host"
                ) from error
            raise Conflict(
                f"Port {port} on {host} is in use; choose another one with --port.",
                code="port_in_use",
                port=port,
            ) from error


def free() -> Iterator[int]:
    """Ports below the range of Ray's workers (10002 upwards) that nothing listens on.

    In random order, so that two clusters that start at once do not both choose the first.
    """
    for port in random.sample(range(6400, 10000), 3600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise Failure("No free port between 6400 and 9999.", code="no_free_port")


def reserve(directory: Path) -> tuple[range, int]:
    """A hundred ports for one cluster alone, and the descriptor of the lock that keeps them.

    HAProxy goes on sending requests to a replica's port for a moment after the replica died. If
    another platform's replica took the port then, it would carry out what was not meant for it.

    Args:
        directory: Of the locks; shared by all clusters that are to keep out of each other's way.

    Raises:
        Failure: All are taken.
    """
    for first in random.sample(_RANGES, len(_RANGES)):
        path = directory / f"ports-{first}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            require_free("127.0.0.1", first)
        except (BlockingIOError, Conflict):
            os.close(descriptor)
            continue
        return range(first, first + _RANGES.step), descriptor
    raise Failure("Every range of ports from 20000 to 32699 is taken.", code="no_free_port")


def for_dashboard(free: Iterator[int]) -> int:
    """Ray's usual dashboard port where it is free."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8265))
        except OSError:
            return next(free)
    return 8265
