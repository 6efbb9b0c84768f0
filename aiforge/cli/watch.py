"""``aiforge watch``: what goes on, live."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiforge.cli.frame import Cli, command, to_json
from aiforge.cli.output import ago, rows

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiforge.cli.board import Board
    from aiforge.schemas.runs import Event

_EXAMPLES = """
aiforge watch                  (until Ctrl-C)
aiforge watch --once           (what goes on now)
aiforge watch --once --json
aiforge watch --json           (events, one JSON document per line)
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    command(app, "watch", examples=_EXAMPLES)(watch)


def watch(
    cli: Cli,
    once: Annotated[bool, typer.Option("--once", help="Print it and end.")] = False,
) -> None:
    """Show jobs, other runs, and missions that wait, as they change; Ctrl-C ends it."""
    if once:
        board = asyncio.run(_load(cli))
        cli.show(as_json(board), lambda console: console.print(view(board)))
        return
    try:
        if cli.as_json:
            for event in cli.forge.system.events():
                print(json.dumps(to_json(event), ensure_ascii=False), flush=True)
        elif cli.console.is_terminal:
            asyncio.run(_live(cli))
        else:
            for event in cli.forge.system.events():
                cli.say(line(event))
    except KeyboardInterrupt:
        return


async def _load(cli: Cli) -> Board:
    from aiforge.cli.board import Board
    from aiforge.client import AsyncAIForge

    board = Board()
    async with AsyncAIForge(cli.url) as forge:
        await board.load(forge)
    return board


async def _live(cli: Cli) -> None:
    from rich.live import Live
    from rich.text import Text

    from aiforge.cli import board
    from aiforge.client import AsyncAIForge

    connecting = Text(f"Connecting to {cli.url} …", style="dim")
    with Live(connecting, console=cli.console, refresh_per_second=4) as live:
        async with AsyncAIForge(cli.url) as forge:
            await board.watch(forge, lambda found: live.update(view(found)))


def view(board: Board) -> RenderableType:
    """The board for a person."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text("Jobs", style="bold"), _jobs(board)]
    if board.runs:
        parts += [Text("Other work", style="bold"), _runs(board)]
    if board.missions:
        parts += [Text(f"Missions that wait for you: {board.pending}", style="bold")]
        parts.append(_missions(board))
    parts += [Text(line(event), style="dim") for event in board.events]
    return Group(*parts)


def as_json(board: Board) -> dict[str, Any]:
    """The board for a program."""
    return {
        "jobs": [to_json(job) for job in board.jobs.values()],
        "runs": [
            {
                "kind": run.kind,
                "resourceId": run.resource_id,
                "status": run.status,
                "progress": run.progress,
            }
            for run in board.runs.values()
        ],
        "missions": [to_json(mission) for mission in board.missions],
    }


def line(event: Event) -> str:
    """An event on one line."""
    text = f"{event.at:%H:%M:%S}  {event.type:<20}  {event.resource_id}"
    return f"{text}  {event.data['error']}" if event.data.get("error") else text


def _jobs(board: Board) -> RenderableType:
    from aiforge.cli.progress import job_figures

    return rows(
        board.jobs.values(),
        [
            ("ID", lambda j: j.id),
            ("PROJECT", lambda j: j.project_name),
            ("STATUS", lambda j: str(j.status)),
            ("PROGRESS", lambda j: f"{j.progress:.0f}%"),
            ("", lambda j: j.queued_reason or job_figures(j.metrics)),
        ],
        "None is under way. Start one: aiforge train PROJECT",
    )


def _runs(board: Board) -> RenderableType:
    return rows(
        board.runs.values(),
        [
            ("ID", lambda r: r.resource_id),
            ("KIND", lambda r: r.kind),
            ("STATUS", lambda r: r.status),
            ("PROGRESS", lambda r: "" if r.progress is None else f"{r.progress:.0f}%"),
        ],
        "",
    )


def _missions(board: Board) -> RenderableType:
    return rows(
        board.missions,
        [
            ("ID", lambda m: m.id),
            ("TITLE", lambda m: m.title),
            ("TYPE", lambda m: m.type),
            ("PRIORITY", lambda m: m.priority),
            ("CREATED", lambda m: ago(m.created_at)),
        ],
        "",
    )
