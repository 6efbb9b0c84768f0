"""What must hold before the platform may answer anybody; an unsafe start is refused."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiforge.errors import InvalidInput
from aiforge.settings import Settings

SHORTEST_KEY_BYTES = 32
"""RFC 7518 asks for a key as long as the hash of HS256."""


def require_safe(settings: Settings) -> None:
    """Refuse settings that would leave the platform open.

    Raises:
        InvalidInput: The message says what to do.
    """
    # Reading them checks their permissions, whether they are needed here or not.
    _ = settings.resolved_database_url
    key = settings.signing_key
    if key is not None:
        _require_strong(key)
    if settings.jwks_url is not None:
        _require_private_way(settings.jwks_url)
    if settings.env == "development":
        if not is_loopback(settings.host):
            raise InvalidInput(
                f"AIFORGE_ENV=development asks nobody for a credential, so it does not listen on "
                f"{settings.host}. Set AIFORGE_HOST=127.0.0.1, or AIFORGE_ENV=production and "
                "AIFORGE_JWT_SECRET_FILE.",
                code="public_without_authentication",
            )
    elif key is None and settings.jwks_url is None:
        raise InvalidInput(
            f"AIFORGE_ENV={settings.env} needs a signing key: "
            "(umask 077; openssl rand -base64 48 > jwt.key), then "
            "AIFORGE_JWT_SECRET_FILE=$PWD/jwt.key; or name your identity provider's keys with "
            "AIFORGE_JWKS_URL.",
            code="signing_key_missing",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address that a server binds to."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _require_strong(key: bytes) -> None:
    if len(key) < SHORTEST_KEY_BYTES:
        raise InvalidInput(
            f"The signing key has {len(key)} bytes; it needs {SHORTEST_KEY_BYTES} or more: "
            "openssl rand -base64 48",
            code="signing_key_short",
        )
    if len(set(key)) < 8:
        raise InvalidInput(
            "The signing key repeats a few characters and can be guessed; make one with: "
            "openssl rand -base64 48",
            code="signing_key_weak",
        )


def _require_private_way(url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not (parts.scheme == "https" and parts.hostname) and not local:
        raise InvalidInput(
            f"AIFORGE_JWKS_URL is {url!r}; whoever sits between could give other keys. Use https.",
            code="jwks_url_insecure",
        )
