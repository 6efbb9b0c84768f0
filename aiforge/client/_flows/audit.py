"""The audit trail."""

from __future__ import annotations

from datetime import datetime

from aiforge.client._flow import Flow
from aiforge.client._flows.common import Page, fetch_page
from aiforge.schemas.access import AuditEntry, AuditOutcome


def list_(
    *,
    principal: str | None = None,
    resource_id: str | None = None,
    request_id: str | None = None,
    outcome: AuditOutcome | str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[Page[AuditEntry]]:
    """Who did what, newest first; what is ``None`` does not matter.

    Args:
        since: From this moment on (with a time zone).
        until: Before this moment.
    """
    return fetch_page(
        AuditEntry,
        "/audit",
        principal=principal,
        resourceId=resource_id,
        requestId=request_id,
        outcome=None if outcome is None else str(outcome),
        since=None if since is None else since.isoformat(),
        until=None if until is None else until.isoformat(),
        limit=limit,
        offset=offset,
    )
