"""``aiforge audit``: who did what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import table
from aiforge.cli.source import Limit, Offset

app = group("The audit trail: who did what, and what became of it.", "aiforge audit list")

Moment = Annotated[
    datetime | None, typer.Option("--since", help="From this moment on, in UTC.", metavar="TIME")
]


@command(
    app,
    "list",
    examples="""
    aiforge audit list
    aiforge audit list --principal key-… --outcome refused
    aiforge audit list --resource job-… --since 2026-01-31 --json
    """,
)
def list_(
    cli: Cli,
    principal: Annotated[
        str | None, typer.Option("--principal", help="Only what this one did.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option("--resource", help="Only what touched this resource.")
    ] = None,
    request: Annotated[
        str | None, typer.Option("--request", help="Only this request, as req-…")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="done, refused or failed.")
    ] = None,
    since: Moment = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> None:
    """List who did what, newest first."""
    found = cli.forge.audit.list(
        principal=principal,
        resource_id=resource,
        request_id=request,
        outcome=outcome,
        since=None if since is None else since.replace(tzinfo=UTC),
        limit=limit,
        offset=offset,
    )
    cli.show(
        found,
        table(
            found,
            [
                ("WHEN", lambda e: f"{e.at:%Y-%m-%d %H:%M:%S}"),
                ("WHO", lambda e: e.principal_name),
                ("WHAT", lambda e: e.action),
                ("OUTCOME", lambda e: str(e.outcome)),
                ("RESOURCES", lambda e: " ".join(e.resource_ids)),
                ("FROM", lambda e: e.address or ""),
                ("REQUEST", lambda e: e.request_id),
            ],
            "Nothing was done yet.",
        ),
    )
