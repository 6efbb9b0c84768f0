"""API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from aiforge.client._flow import Flow
from aiforge.client._flows.common import (
    Page,
    fetch_page,
    given,
    post,
    quoted,
)
from aiforge.client._flows.common import (
    delete as delete_at,
)
from aiforge.schemas.access import ApiKey, CreatedKey


def create(
    name: str,
    scopes: Sequence[str],
    *,
    projects: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> Flow[CreatedKey]:
    """Make a key; its ``key`` is shown this once.

    Args:
        scopes: What it may do, as ``jobs:read``, ``datasets:*`` or ``admin``.
        projects: Bind it to these; it sees and touches nothing else.
        expires_at: When it stops being accepted (with a time zone); never when absent.

    Raises:
        Forbidden: It would be good for more than you are.
    """
    body = given(
        name=name,
        scopes=list(scopes),
        projects=None if projects is None else list(projects),
        expires_at=None if expires_at is None else expires_at.isoformat(),
    )
    return post(CreatedKey, "/keys", json=body)


def list_(*, limit: int | None = None, offset: int | None = None) -> Flow[Page[ApiKey]]:
    """The keys, newest first, without their secrets."""
    return fetch_page(ApiKey, "/keys", limit=limit, offset=offset)


def revoke(key_id: str) -> Flow[ApiKey]:
    """Have a key never be accepted again.

    Raises:
        NotFound: There is none with this id.
    """
    return delete_at(ApiKey, f"/keys/{quoted(key_id)}")
