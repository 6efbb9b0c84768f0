"""Who asks: credentials become principals; keys are remembered, so that few are looked up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from aiforge.errors import Unauthenticated
from aiforge.schemas.access import Principal
from aiforge.services import keys
from aiforge.services.tokens import Tokens
from aiforge.settings import Settings
from aiforge.state import keys as stored_keys
from aiforge.state.access import State
from aiforge.state.keys import StoredKey
from aiforge.state.schema import now

REMEMBER_SECONDS = 5.0
"""How long a key is remembered: a revoked one may be accepted for that long by other replicas."""

MOST_REMEMBERED = 10_000

NOTE_SECONDS = 60.0
"""How often the last use of a key is written down at most."""


@dataclass
class _Remembered:
    """What was found under a key's id; ``None`` where there is no such key."""

    key: StoredKey | None
    until: float = field(default_factory=lambda: time.monotonic() + REMEMBER_SECONDS)


class Access:
    """Turns the credentials of requests into principals.

    Args:
        settings: Name the keys of bearer tokens.
    """

    def __init__(self, state: State, settings: Settings) -> None:
        self.tokens = Tokens(settings)
        self._state = state
        self._remembered: dict[str, _Remembered] = {}
        self._noted: dict[str, float] = {}

    async def principal(self, credential: str) -> Principal:
        """Who a credential speaks for.

        Args:
            credential: An API key or a bearer token.

        Raises:
            Unauthenticated: It is not accepted.
            Unavailable: The state or the identity provider does not answer.
        """
        if not credential.startswith(keys.PREFIX):
            return await self.tokens.principal(credential)
        parsed = keys.parse(credential)
        if parsed is None:
            raise _refused()
        key_id, secret = parsed
        found = await self._find(key_id)
        if found is None or not keys.matches(found, secret) or not keys.is_good(found, now()):
            raise _refused()
        self._note_use(key_id)
        return Principal(
            id=found.id,
            name=found.name,
            kind="key",
            scopes=frozenset(found.scopes),
            projects=None if found.projects is None else frozenset(found.projects),
        )

    def forget(self, key_id: str) -> None:
        """Look the key up again at its next use."""
        self._remembered.pop(key_id, None)

    async def _find(self, key_id: str) -> StoredKey | None:
        remembered = self._remembered.get(key_id)
        if remembered is None or time.monotonic() >= remembered.until:
            found = await self._state.call(stored_keys.find, key_id)
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            remembered = self._remembered[key_id] = _Remembered(found)
        return remembered.key

    def _note_use(self, key_id: str) -> None:
        moment = time.monotonic()
        if moment >= self._noted.get(key_id, 0.0):
            if len(self._noted) >= MOST_REMEMBERED:
                self._noted.clear()
            self._noted[key_id] = moment + NOTE_SECONDS
            self._state.send(stored_keys.note_uses, {key_id: now()})


def _refused() -> Unauthenticated:
    """One text for every reason, which tells nothing to those who guess."""
    return Unauthenticated(
        "The API key is not accepted: it is unknown, has expired, or was revoked.",
        code="key_invalid",
    )
