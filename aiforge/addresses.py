"""Addresses of hosts that others name: resolved once, and checked not to lead inside."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator

from aiforge.errors import Failure, InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def parse_address(host: str) -> Address | None:
    """The address that a host's name spells out; ``None`` where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def resolve(host: str, port: int, *, trusted: bool = False) -> list[str]:
    """Addresses of a host, each checked to be public unless the host is trusted.

    The connection must be pinned to what is returned, or a second look-up could give
    another answer.

    Raises:
        Failure: ``host_unknown``.
        InvalidInput: ``url_not_allowed`` where one of its addresses is not public.
    """
    if not trusted:
        check_literal(host)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failure(
            f"The host {host!r} cannot be resolved. Check the URL and the network.",
            code="host_unknown",
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not trusted:
        for address in addresses:
            _check_public(host, ipaddress.ip_address(address.partition("%")[0]))
    return addresses


def check_literal(host: str) -> None:
    """Refuse a host that spells out an address which is not public.

    Raises:
        InvalidInput: ``url_not_allowed``.
    """
    if (literal := parse_address(host)) is not None:
        _check_public(host, literal)


def is_proxied() -> bool:
    """Whether HTTPS leaves through a proxy, which then resolves names itself."""
    return any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"))


def _check_public(host: str, address: Address) -> None:
    for inner in _unwrapped(address):
        if not inner.is_global or inner.is_multicast:
            raise InvalidInput(
                f"The host {host!r} has the address {address}, which is not public. "
                "Use a public host, or have the operator name this one as trusted.",
                code="url_not_allowed",
                field="url",
            )


def _unwrapped(address: Address) -> Iterator[Address]:
    """The address, and any IPv4 address that translation mechanisms put inside it."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        yield from (found for found in inner if found is not None)
