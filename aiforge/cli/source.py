"""``aiforge source``: repositories, directories and uploads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import ago, duration, facts, size, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.client import Source

app = group(
    "Data sources: git repositories, directories and uploads.",
    "aiforge source add https://github.com/owner/repository",
)

SourceId = Annotated[str, typer.Argument(metavar="SOURCE", help="Id of a source, as src-…")]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", "-i", help="Read only files that match (gitignore syntax)."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", "-x", help="Leave out files that match (gitignore syntax)."),
]
Limit = Annotated[int, typer.Option("--limit", help="Most rows to show.", min=1, max=500)]
Offset = Annotated[int, typer.Option("--offset", help="Newest rows to leave out.", min=0)]


@command(
    app,
    "add",
    examples="""
    aiforge source add https://github.com/owner/repository
    aiforge source add https://github.com/owner/repository --branch main -i '*.py' -x tests/
    aiforge source add ~/projects/mine            (a path that the server may read)
    aiforge source add https://github.com/owner/repository --sync-every 15m
    aiforge source add --upload src/ notes.zip    (sends the files to the server)
    """,
)
def add(
    cli: Cli,
    places: Annotated[
        list[str],
        typer.Argument(metavar="URL|PATH…", help="A repository, or with --upload files."),
    ],
    upload: Annotated[
        bool, typer.Option("--upload", help="Send files and directories to the server.")
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="What to call it.")] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Branch or tag to read.")] = None,
    include: Include = None,
    exclude: Exclude = None,
    sync_every: Annotated[
        str | None,
        typer.Option("--sync-every", metavar="TIME", help="Read it again by itself: 15m, 2h, 1d."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Don't wait until it is read.")
    ] = False,
) -> None:
    """Register a source and read it."""
    from aiforge.cli.progress import Display, follow_source

    patterns = {"include": include or [], "exclude": exclude or []}
    sync_seconds = None if sync_every is None else _seconds(sync_every)
    if upload and sync_every is not None:
        raise typer.BadParameter("an upload does not change by itself; leave --sync-every out")
    if upload:
        with Display(cli.console, "Uploading") as display:
            source = cli.forge.sources.upload(
                places,
                name=name,
                progress=lambda sent, total: display.show(100 * sent / max(1, total), None),
                **patterns,
            )
    elif len(places) > 1:
        raise typer.BadParameter("give one repository, or --upload to send files")
    else:
        url = _address(places[0])
        source = cli.forge.sources.create_git(
            url, name=name, branch=branch, sync_seconds=sync_seconds, **patterns
        )
    if not detach:
        source = follow_source(cli.forge, source.id, cli.console)
    cli.show(source, _details(source))
    if not cli.as_json and not detach:
        cli.say(f"Next: aiforge dataset generate NAME --source {source.id}")


@command(app, "list", examples="aiforge source list")
def list_(cli: Cli, limit: Limit = 50, offset: Offset = 0) -> None:
    """List sources, newest first."""
    sources = cli.forge.sources.list(limit=limit, offset=offset)
    cli.show(
        sources,
        table(
            sources,
            [
                ("ID", lambda s: s.id),
                ("NAME", lambda s: s.name),
                ("TYPE", lambda s: s.type),
                ("STATUS", lambda s: str(s.status)),
                ("FILES", lambda s: f"{s.file_count:,}"),
                ("SYNCED", lambda s: ago(s.last_synced_at)),
            ],
            "No sources yet. Add one: aiforge source add https://github.com/owner/repository",
        ),
    )


@command(app, "show", examples="aiforge source show src-…")
def show(cli: Cli, source_id: SourceId) -> None:
    """Show one source."""
    source = cli.forge.sources.get(source_id)
    cli.show(source, _details(source))


@command(app, "files", examples="aiforge source files src-… --limit 500")
def files(cli: Cli, source_id: SourceId, limit: Limit = 50, offset: Offset = 0) -> None:
    """List what was read of a source, and what was skipped and why."""
    found = cli.forge.sources.files(source_id, limit=limit, offset=offset)
    cli.show(
        found,
        table(
            found,
            [
                ("PATH", lambda f: f.path),
                ("SIZE", lambda f: size(f.size)),
                ("LANGUAGE", lambda f: f.language or ""),
                ("SKIPPED", lambda f: f.skipped or ""),
            ],
            f"Nothing was read of it yet; see: aiforge source show {source_id}",
        ),
    )
    if not cli.as_json and found.total > offset + len(found):
        cli.say(f"{offset + len(found)} of {found.total} files; --offset shows more.")


@command(app, "sync", examples="aiforge source sync src-…")
def sync(
    cli: Cli,
    source_id: SourceId,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Don't wait until it is read.")
    ] = False,
) -> None:
    """Read a source again."""
    from aiforge.cli.progress import follow_source

    source = cli.forge.sources.sync(source_id)
    if not detach:
        source = follow_source(cli.forge, source.id, cli.console)
    cli.show(source, _details(source))


@command(
    app,
    "update",
    examples="""
    aiforge source update src-… --sync-every 15m
    aiforge source update src-… --sync-every default    (as the platform's settings say)
    """,
)
def update(
    cli: Cli,
    source_id: SourceId,
    sync_every: Annotated[
        str, typer.Option("--sync-every", metavar="TIME", help="15m, 2h, 1d, or default.")
    ],
) -> None:
    """Change how often a source is read again by itself."""
    seconds = None if sync_every == "default" else _seconds(sync_every)
    source = cli.forge.sources.update(source_id, sync_seconds=seconds)
    cli.show(source, _details(source))


@command(app, "delete", examples="aiforge source delete src-…")
def delete(cli: Cli, source_id: SourceId) -> None:
    """Delete a source; datasets that were built from it stay."""
    message = cli.forge.sources.delete(source_id)
    cli.show(message, lambda console: console.print(f"{source_id}: {message.message}"))


def _address(place: str) -> str:
    """A path as the server needs it, absolute; a URL as it is."""
    path = Path(place).expanduser()
    return str(path.resolve()) if path.exists() else place


def _seconds(text: str) -> int:
    """A span of time as a person writes it."""
    found = re.fullmatch(r"(\d+)\s*([smhd]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; write it as 15m, 2h or 1d")
    return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def _commits(source: Source) -> str | None:
    history = source.history
    if history is None or history.commit_count is None:
        return None
    rewritten = ", history rewritten" if history.rewritten else ""
    return f"{history.commit_count:,} since {(history.previous_commit or '')[:10]}{rewritten}"


def _details(source: Source) -> Callable[[Console], None]:
    return facts(
        [
            ("id", source.id),
            ("name", source.name),
            ("type", source.type),
            ("status", str(source.status)),
            ("url", source.url),
            ("branch", source.branch),
            ("include", ", ".join(source.include_patterns)),
            ("exclude", ", ".join(source.exclude_patterns)),
            ("revision", source.revision),
            ("commits", _commits(source)),
            ("files", f"{source.file_count:,} read, {source.skipped_count:,} skipped"),
            ("size", size(source.total_bytes)),
            ("synced", ago(source.last_synced_at)),
            ("syncs every", duration(source.sync_seconds) if source.sync_seconds else None),
            ("error", source.error),
        ]
    )
