"""``aiforge backup | restore | gc``: what whoever runs a platform does to its state and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiforge.cli.frame import Cli, command
from aiforge.cli.installation import Home, installed, local_settings
from aiforge.cli.output import duration, facts, size, table
from aiforge.errors import Conflict

if TYPE_CHECKING:
    from aiforge.settings import Settings
    from aiforge.state.backup import Summary


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    command(app, "backup", examples=_BACKUP)(backup)
    command(app, "restore", examples=_RESTORE)(restore)
    command(app, "gc", examples=_GC)(gc)


_BACKUP = """
aiforge backup state.backup          (the platform may run meanwhile)
AIFORGE_DATABASE_URL=postgresql://… aiforge backup /backups/state.backup
"""

_RESTORE = """
aiforge restore state.backup
aiforge restore state.backup --replace
AIFORGE_DATABASE_URL=postgresql://… aiforge restore state.backup    (from SQLite to PostgreSQL)
"""


_GC = """
aiforge gc                           (shows what would go, and why)
aiforge gc --delete
AIFORGE_RETENTION='{"grace_hours": 72, "teacher_days": 365}' aiforge gc
"""


def backup(
    cli: Cli,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written whole or not at all.")],
    home: Home = None,
) -> None:
    """Write the whole state to one checked, compressed file, as it is at one moment.

    Files under the storage URI are not part of it; copy them after this, not before.
    """
    engine = installed("aiforge.state.backup")
    made = engine.back_up(local_settings(home, None).resolved_database_url, file.expanduser())
    _show(cli, "backed up to", file, made)


def restore(
    cli: Cli,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `aiforge backup` wrote.")],
    home: Home = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up what the state holds now.")
    ] = False,
) -> None:
    """Make the state what a backup says, on SQLite or PostgreSQL; the platform must be down.

    An older backup is brought up to date. What ran when it was made goes on at the next start.
    """
    settings = local_settings(home, None)
    engine = installed("aiforge.state.backup")
    _require_down(settings)
    restored = engine.restore(settings.resolved_database_url, file.expanduser(), replace=replace)
    _show(cli, "restored from", file, restored)


def gc(
    cli: Cli,
    home: Home = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only shown.")
    ] = False,
) -> None:
    """Find the files that nothing refers to any more, and remove them.

    What a source, dataset, job, model, export, artifact or mission refers to always stays, and
    so does what was written lately. The platform may run meanwhile.
    """
    settings = local_settings(home, None)
    installed("aiforge.state.backup")
    from aiforge.services import retention

    with retention.opened(settings) as sweep, cli.console.status("Looking through the storage"):
        found = sweep.find()
        if delete:
            found = list(retention.collect(sweep, found))
    total = sum(one.size for one in found)
    body = {
        "deleted": delete,
        "size": total,
        "items": [one.model_dump(mode="json", by_alias=True) for one in found],
    }
    cli.show(body, table(found, _GARBAGE, "Nothing can go."))
    if found:
        verb = "went" if delete else "would go; remove it with --delete"
        cli.say(f"{len(found)} items, {size(total)} {verb}.")


_GARBAGE: list[tuple[str, Callable[[Any], str]]] = [
    ("What", lambda one: one.kind),
    ("Path", lambda one: one.path),
    ("Size", lambda one: size(one.size)),
    ("Last written", lambda one: f"{duration(one.age_seconds)} ago"),
    ("Why", lambda one: one.reason),
]


def _show(cli: Cli, what: str, file: Path, summary: Summary) -> None:
    rows = f"{summary.rows:,} rows of {summary.tables} tables, revision {summary.revision}"
    made = summary.made_at.isoformat(timespec="seconds")
    cli.show(summary, facts([(what, str(file)), ("holds", rows), ("made at", made)]))


def _require_down(settings: Settings) -> None:
    import httpx

    from aiforge.runtime import cluster

    answers = False
    if settings.ray_address:
        try:
            httpx.get(f"http://{settings.host}:{settings.port}/health", timeout=5)
            answers = True
        except httpx.HTTPError:
            pass
    if answers or cluster.running(settings) is not None:
        raise Conflict(
            "The platform is running, and would go on with what it knew; `aiforge down` first.",
            code="platform_running",
        )
