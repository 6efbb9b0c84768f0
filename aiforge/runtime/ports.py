"""Free ports of this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

from aiforge.errors import Conflict, Failure, InvalidInput


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


def for_dashboard(free: Iterator[int]) -> int:
    """Ray's usual dashboard port where it is free."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8265))
        except OSError:
            return next(free)
    return 8265
