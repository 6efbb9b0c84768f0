"""``aiforge artifact``: charts, reports, logs and files that runs and missions leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiforge.cli.frame import Cli, command, group, to_json
from aiforge.cli.output import ago, facts, size, table
from aiforge.cli.progress import Display
from aiforge.cli.source import Limit, Offset

if TYPE_CHECKING:
    from rich.console import Console

    from aiforge.schemas.artifacts import ArtifactType

app = group("Artifacts: charts, reports, logs and files.", "aiforge artifact list --about job-…")

ArtifactId = Annotated[str, typer.Argument(metavar="ARTIFACT", help="Id of an artifact, as art-…")]


@command(
    app,
    "list",
    examples="""
    aiforge artifact list
    aiforge artifact list --about job-… --json
    """,
)
def list_(
    cli: Cli,
    about: Annotated[
        str | None,
        typer.Option("--about", help="Only of this job, model, dataset, mission or run."),
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> None:
    """List artifacts, newest first."""
    found = cli.forge.artifacts.list(resource_id=about, limit=limit, offset=offset)
    cli.show(
        found,
        table(
            found,
            [
                ("ID", lambda a: a.id),
                ("NAME", lambda a: a.name),
                ("TYPE", lambda a: a.type),
                ("SIZE", lambda a: size(a.size)),
                ("OF", lambda a: a.owner_id),
                ("CREATED", lambda a: ago(a.created_at)),
            ],
            "No artifacts yet. Validations and missions leave them.",
        ),
    )


@command(
    app,
    "show",
    examples="""
    aiforge artifact show art-…
    aiforge artifact show art-… --json    (with its content)
    """,
)
def show(cli: Cli, artifact_id: ArtifactId) -> None:
    """Show an artifact: a chart as bars, a report as text, a log as it is."""
    artifact = cli.forge.artifacts.get(artifact_id)
    content = artifact.content() if artifact.type != "file" else b""
    if cli.as_json:
        cli.show({"artifact": to_json(artifact), "content": _plain(artifact.type, content)}, _no)
        return
    if artifact.type == "file":
        pairs = [("id", artifact.id), ("name", artifact.name), ("type", artifact.mime_type)]
        facts([*pairs, ("size", size(artifact.size)), ("sha256", artifact.sha256)])(cli.console)
        cli.say(f"Have it: aiforge artifact save {artifact.id}")
        return
    render(cli.console, artifact.type, artifact.name, content)


@command(
    app,
    "save",
    examples="""
    aiforge artifact save art-…                      (into this directory, under its name)
    aiforge artifact save art-… --output chart.json
    """,
)
def save(
    cli: Cli,
    artifact_id: ArtifactId,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File or directory to write.")
    ] = Path("."),
) -> None:
    """Save an artifact to a file, compared with what the server holds."""
    artifact = cli.forge.artifacts.get(artifact_id)
    with Display(cli.console, "Downloading") as display:
        path = artifact.save(output, progress=display.bytes)
    cli.show({"path": str(path), "size": artifact.size}, lambda console: print(path))


def render(console: Console, type: ArtifactType, name: str, content: bytes) -> None:
    """Shows the content of an artifact that is no file."""
    from rich.markdown import Markdown
    from rich.text import Text

    from aiforge.cli.charts import bars

    if type == "chart":
        bars(json.loads(content))(console)
    elif type == "report":
        console.print(Text(name, style="bold"))
        console.print(Markdown(content.decode(errors="replace")))
    else:
        console.print(Text(content.decode(errors="replace")))


def _plain(type: ArtifactType, content: bytes) -> Any:
    if type == "file":
        return None
    return json.loads(content) if type == "chart" else content.decode(errors="replace")


def _no(console: Console) -> None:
    """Nothing for people where JSON was asked for."""
