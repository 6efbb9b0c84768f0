"""Who asks, what they may do, and the keys that they show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from aiforge.schemas.common import Request, Timestamp, Wire

ADMIN = "admin"
"""The scope that holds all others."""


class Scope(StrEnum):
    """What a credential may do: a verb on a kind of resource.

    A credential may also hold ``jobs:*`` for every verb on jobs, and ``admin`` for everything.
    """

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    SOURCES_READ = "sources:read"
    SOURCES_WRITE = "sources:write"
    MODELS_READ = "models:read"
    MODELS_DEPLOY = "models:deploy"
    MISSIONS_READ = "missions:read"
    MISSIONS_APPROVE = "missions:approve"
    ARTIFACTS_READ = "artifacts:read"
    CHAT_USE = "chat:use"
    EVENTS_READ = "events:read"
    SYSTEM_READ = "system:read"
    AUDIT_READ = "audit:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    ADMIN = ADMIN


GRANTABLE = frozenset(
    {*map(str, Scope), *(f"{scope.partition(':')[0]}:*" for scope in Scope if ":" in scope)}
)
"""Every scope that a key can be given."""


def grants(held: Collection[str], needed: str) -> bool:
    """Whether scopes that are held hold another one."""
    return ADMIN in held or needed in held or f"{needed.partition(':')[0]}:*" in held


def _known(scopes: list[str]) -> list[str]:
    for scope in scopes:
        if scope not in GRANTABLE:
            raise ValueError(f"{scope!r} is no scope; choose from {', '.join(sorted(GRANTABLE))}")
    return sorted(set(scopes))


Scopes = Annotated[
    list[str],
    Field(min_length=1, max_length=50, examples=[["jobs:read", "datasets:*"]]),
    AfterValidator(_known),
]
Project = Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Principal:
    """Who asks.

    ``projects`` are those that the credential is bound to; ``None`` where it is not bound.
    """

    id: str
    name: str
    kind: Literal["local", "token", "key"]
    scopes: frozenset[str]
    projects: frozenset[str] | None = None

    def may(self, scope: str) -> bool:
        """Whether it holds a scope."""
        return grants(self.scopes, scope)


LOCAL = Principal(id="local", name="local", kind="local", scopes=frozenset({ADMIN}))
"""Who asks, where nobody has to say who they are."""


@dataclass(frozen=True)
class Origin:
    """Where a request comes from: what the audit trail keeps of it."""

    principal: str
    principal_name: str
    action: str
    request_id: str
    address: str | None = None
    projects: tuple[str, ...] | None = None


class KeyRequest(Request):
    """``POST /keys``: what a key is to be good for."""

    name: str = Field(min_length=1, max_length=100)
    scopes: Scopes
    projects: list[Project] | None = Field(default=None, min_length=1, max_length=50)
    """Bind the key to these projects; it sees and touches nothing else."""
    expires_at: AwareDatetime | None = None
    """When it stops being accepted; never when absent."""


class ApiKey(Wire):
    """A key, without its secret; ``last_used_at`` is exact to a minute."""

    id: str
    name: str
    scopes: list[str]
    projects: list[str] | None = None
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None
    last_used_at: Timestamp | None = None


class CreatedKey(ApiKey):
    """A fresh key; ``key`` is shown this once and cannot be found out again."""

    key: str


class AuditOutcome(StrEnum):
    """What became of what was asked for."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class AuditEntry(Wire):
    """Who did what, when, from where, and what became of it."""

    sequence: int
    at: Timestamp
    principal: str
    principal_name: str
    action: str
    operation: str | None = None
    resource_ids: list[str] = Field(default_factory=list)
    address: str | None = None
    request_id: str
    outcome: AuditOutcome
    status: int | None = None
