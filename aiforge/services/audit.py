"""The audit trail."""

from __future__ import annotations

from aiforge.schemas.access import AuditEntry
from aiforge.schemas.common import Listing, Page
from aiforge.services.context import Services
from aiforge.state import audit
from aiforge.state.audit import AuditFilter


async def list_page(services: Services, page: Page, wanted: AuditFilter) -> Listing[AuditEntry]:
    """Entries, newest first."""
    return await services.state.call(audit.page, page.limit, page.offset, wanted)
