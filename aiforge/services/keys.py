"""API keys: ``aif_<id>.<secret>``, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime

from aiforge.errors import Conflict, Forbidden, InvalidInput
from aiforge.schemas.access import ApiKey, CreatedKey, KeyRequest, Principal
from aiforge.schemas.common import Listing, Page, new_id, utc_now
from aiforge.services.context import Services
from aiforge.state import keys
from aiforge.state.keys import StoredKey
from aiforge.state.schema import now
from aiforge.state.store import RequestKey

PREFIX = "aif_"
SECRET_BYTES = 32

_KEY = re.compile(r"aif_([0-9a-z]{26})\.([A-Za-z0-9_-]{43})")


async def create(
    services: Services, request: KeyRequest, key: RequestKey | None = None
) -> CreatedKey:
    """Make a key and show it.

    Raises:
        Forbidden: It would be good for more than the one who asks for it may do.
        InvalidInput: It would have expired already.
        Conflict: The ``Idempotency-Key`` made a key already; that cannot be shown again.
    """
    creator = services.principal
    _require_within(creator, request)
    if request.expires_at is not None and request.expires_at <= utc_now():
        raise InvalidInput(
            "expiresAt lies in the past.", field="expiresAt", error="Must lie in the future"
        )
    secret = secrets.token_urlsafe(SECRET_BYTES)
    new = StoredKey(
        id=new_id("key"),
        name=request.name,
        secret_hash=_hash(secret),
        scopes=request.scopes,
        projects=request.projects,
        created_by=creator.id,
        created_at=now(),
        expires_at=request.expires_at,
    )
    stored = await services.state.once(key).call(keys.create, new)
    if stored.id != new.id:
        raise Conflict(
            f"This Idempotency-Key made {stored.id} already, whose secret is shown once only; "
            "revoke it and make another.",
            code="key_shown_already",
            keyId=stored.id,
        )
    return CreatedKey(**stored.model_dump(by_alias=False), key=_text(new.id, secret))


def _require_within(creator: Principal, request: KeyRequest) -> None:
    """Nobody can give away what they do not have."""
    beyond = [scope for scope in request.scopes if not creator.may(scope)]
    if beyond:
        raise Forbidden(
            f"You do not hold {', '.join(beyond)} yourself; leave it out.",
            code="scope_beyond_own",
            scopes=beyond,
        )
    if creator.projects is not None and not creator.projects.issuperset(request.projects or ()):
        raise Forbidden("The key names projects that you are not bound to.", code="beyond_projects")
    if creator.projects is not None and request.projects is None:
        raise Forbidden(
            "You are bound to projects; bind the key to some of them.", code="beyond_projects"
        )


async def list_page(services: Services, page: Page) -> Listing[ApiKey]:
    """Keys, newest first."""
    return await services.state.call(keys.page, page.limit, page.offset)


async def revoke(services: Services, key_id: str, key: RequestKey | None = None) -> ApiKey:
    """Have a key never be accepted again, or ``NotFound``.

    Other replicas of the API may accept it for ``access.REMEMBER_SECONDS`` more.
    """
    revoked = await services.state.once(key).call(keys.revoke, key_id)
    services.access.forget(key_id)
    return revoked


def parse(text: str) -> tuple[str, str] | None:
    """The id and the secret in the text of a key; ``None`` where it is no key."""
    match = _KEY.fullmatch(text)
    return (f"key-{match[1]}", match[2]) if match else None


def matches(stored: StoredKey, secret: str) -> bool:
    """Whether a secret is the key's, in a time that does not depend on it."""
    return hmac.compare_digest(stored.secret_hash, _hash(secret))


def is_good(stored: StoredKey, moment: datetime) -> bool:
    """Whether a key is accepted at that moment."""
    expired = stored.expires_at is not None and stored.expires_at <= moment
    return stored.revoked_at is None and not expired


def _text(key_id: str, secret: str) -> str:
    return f"{PREFIX}{key_id.removeprefix('key-')}.{secret}"


def _hash(secret: str) -> str:
    """A plain hash is enough: 256 random bits cannot be guessed from it."""
    return hashlib.sha256(secret.encode()).hexdigest()
