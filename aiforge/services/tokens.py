"""Bearer tokens: JSON Web Tokens (RFC 7519) of this platform or of an identity provider.

Each kind of key has its algorithms, so that a public key is never taken for an HMAC secret, and
none is taken from the token itself (RFC 8725).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import jwt
from jwt import PyJWK, PyJWKSet

from aiforge.errors import InvalidInput, Unauthenticated, Unavailable
from aiforge.schemas.access import GRANTABLE, Principal
from aiforge.schemas.common import utc_now
from aiforge.settings import Settings

SHARED: Final = ("HS256",)
PUBLISHED: Final = ("RS256", "EdDSA")
LEEWAY_SECONDS = 10
LONGEST_TOKEN = 8192
JWKS_SECONDS = 300.0
"""How long an identity provider's keys are remembered."""

REFETCH_SECONDS = 10.0
"""A token with an unknown key id has the keys fetched again, but no more often than this."""

LARGEST_JWKS = 1 << 18

REMEMBER_SECONDS = 5.0
"""How long a token that was accepted is not checked again, unless it expires before."""

MOST_REMEMBERED = 10_000


class PublishedKeys:
    """An identity provider's public keys, fetched when they are needed and then remembered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, PyJWK] = {}
        self._fetched = -JWKS_SECONDS
        self._lock = asyncio.Lock()

    async def key(self, key_id: str) -> PyJWK:
        """The key of that id.

        Raises:
            Unauthenticated: There is none.
            Unavailable: The provider does not answer.
        """
        age = time.monotonic() - self._fetched
        if age >= (REFETCH_SECONDS if key_id not in self._keys else JWKS_SECONDS):
            await self._fetch(key_id)
        try:
            return self._keys[key_id]
        except KeyError:
            raise _refused("its key is unknown") from None

    async def _fetch(self, key_id: str) -> None:
        begun = time.monotonic()
        async with self._lock:
            if self._fetched >= begun:
                return
            try:
                found = PyJWKSet.from_dict(await self._download()).keys
            except (OSError, ValueError, jwt.PyJWTError) as error:
                if key_id in self._keys:
                    return
                raise Unavailable(
                    "The identity provider's keys cannot be fetched; try again soon.",
                    code="identity_provider_unavailable",
                    retryAfter=REFETCH_SECONDS,
                ) from error
            self._keys = {key.key_id: key for key in found if key.key_id}
            self._fetched = time.monotonic()

    async def _download(self) -> dict[str, Any]:
        import httpx

        try:
            async with (
                httpx.AsyncClient(timeout=5.0, follow_redirects=False) as client,
                client.stream("GET", self._url) as answer,
            ):
                answer.raise_for_status()
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_JWKS:
                        raise ValueError("The key set is too large.")
        except httpx.HTTPError as error:
            raise OSError(str(error)) from error
        import json

        loaded = json.loads(body)
        if not isinstance(loaded, dict):
            raise ValueError("The key set is no JSON object.")
        return loaded


@dataclass(frozen=True)
class _Accepted:
    """A token's principal; ``expires`` in seconds since 1970."""

    principal: Principal
    expires: float
    until: float = field(default_factory=lambda: time.monotonic() + REMEMBER_SECONDS)

    def holds(self) -> bool:
        """Whether the token need not be checked again."""
        return time.monotonic() < self.until and time.time() < self.expires


class Tokens:
    """Checks bearer tokens, and makes them where this platform holds the signing key."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._secret = settings.signing_key
        self._published = PublishedKeys(settings.jwks_url) if settings.jwks_url else None
        self._remembered: dict[bytes, _Accepted] = {}

    async def principal(self, token: str) -> Principal:
        """Who a token speaks for.

        Raises:
            Unauthenticated: It is malformed, forged, expired, or not meant for this platform.
            Unavailable: The identity provider's keys cannot be fetched.
        """
        if len(token) > LONGEST_TOKEN:
            raise _refused("it is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        accepted = self._remembered.get(digest)
        if accepted is None or not accepted.holds():
            accepted = await self._checked(token)
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = accepted
        return accepted.principal

    async def _checked(self, token: str) -> _Accepted:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise _refused("it is malformed") from error
        claims = await self._claims(token, header)
        return _Accepted(_principal(claims), int(claims["exp"]) + LEEWAY_SECONDS)

    async def _claims(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        algorithm = header.get("alg")
        if "crit" in header:
            raise _refused("it has critical extensions")
        if algorithm in SHARED and self._secret is not None:
            return self._decode(token, self._secret, SHARED)
        if algorithm in PUBLISHED and self._published is not None:
            key_id = header.get("kid")
            if not isinstance(key_id, str):
                raise _refused("it names no key")
            key = await self._published.key(key_id)
            return self._decode(token, key, PUBLISHED)
        raise _refused("its algorithm is not accepted")

    def _decode(self, token: str, key: Any, algorithms: tuple[str, ...]) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise _refused("it has expired; get a new one") from error
        except jwt.InvalidAudienceError as error:
            raise _refused("it is meant for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise _refused("it comes from another issuer") from error
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"it lacks the claim {error.claim}") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise _refused("its signature or its claims are not valid") from error
        return claims

    def mint(
        self,
        subject: str,
        scopes: list[str],
        lifetime: timedelta,
        projects: list[str] | None = None,
    ) -> str:
        """A token of this platform's own.

        Raises:
            InvalidInput: This platform has no signing key.
        """
        if self._secret is None:
            raise InvalidInput(
                "There is no signing key here; set AIFORGE_JWT_SECRET_FILE.",
                code="signing_key_missing",
            )
        now = utc_now()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime,
            "scope": " ".join(scopes),
        }
        if projects is not None:
            claims["projects"] = projects
        return jwt.encode(claims, self._secret, SHARED[0])


def _principal(claims: Mapping[str, Any]) -> Principal:
    subject, scope, projects = claims["sub"], claims.get("scope", ""), claims.get("projects")
    if not isinstance(subject, str) or not subject or not isinstance(scope, str):
        raise _refused("its claims sub and scope must be text")
    bound = None
    if projects is not None:
        if not isinstance(projects, list) or not all(isinstance(one, str) for one in projects):
            raise _refused("its claim projects must be a list of names")
        bound = frozenset(projects)
    return Principal(
        id=f"token:{subject[:150]}",
        name=subject[:150],
        kind="token",
        # A provider may put scopes of other services there, too.
        scopes=frozenset(scope.split()) & GRANTABLE,
        projects=bound,
    )


def _refused(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The bearer token is refused: {reason}.", code="token_invalid")
