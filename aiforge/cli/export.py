"""``aiforge export``: trained models as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.job import JobId
from aiforge.cli.output import ago, facts, size, table
from aiforge.cli.progress import Display
from aiforge.cli.source import Limit, Offset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.schemas.exports import Export, ExportFormat, Quantization

app = group("Exports: trained models as files.", "aiforge export create job-…")

ExportId = Annotated[str, typer.Argument(metavar="EXPORT", help="Id of an export, as export-…")]
Quantized = Annotated[
    str | None, typer.Option("--quantization", "-q", help="As q4_k_m (default), q8_0 or f16.")
]
Format = Annotated[
    str | None, typer.Option("--format", help="gguf (default), safetensors or peft.")
]


@command(
    app,
    "create",
    examples="""
    aiforge export create job-…
    aiforge export create job-… --quantization q8_0
    aiforge export create job-… --format safetensors
    """,
)
def create(
    cli: Cli,
    job_id: JobId,
    quantization: Quantized = None,
    format: Format = None,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Deploy it to Ollama from this file as well.")
    ] = False,
) -> None:
    """Export what a job trained, as a file that was compared with it."""
    with cli.console.status(f"Exporting {job_id}"):
        made = cli.forge.exports.create(
            job_id,
            quantization=cast("Quantization | None", quantization),
            format=cast("ExportFormat | None", format),
            deploy_to_ollama=deploy or None,
        )
    cli.show(made, export_details(made))
    if not cli.as_json:
        cli.say(f"Have it: aiforge export download {job_id} {made.export_id}")


@command(app, "list", examples="aiforge export list job-…")
def list_(cli: Cli, job_id: JobId, limit: Limit = 50, offset: Offset = 0) -> None:
    """List the exports of a job, newest first."""
    found = cli.forge.exports.list(job_id, limit=limit, offset=offset)
    cli.show(
        found,
        table(
            found,
            [
                ("ID", lambda e: e.export_id),
                ("STATUS", lambda e: str(e.status)),
                ("FORMAT", lambda e: e.format),
                ("QUANTIZATION", lambda e: e.quantization or ""),
                ("PROGRESS", lambda e: f"{e.progress:.0f}%"),
                ("SIZE", lambda e: "" if e.size is None else size(e.size)),
                ("CREATED", lambda e: ago(e.created_at)),
            ],
            f"No exports yet. Make one: aiforge export create {job_id}",
        ),
    )


@command(app, "show", examples="aiforge export show job-… export-…")
def show(cli: Cli, job_id: JobId, export_id: ExportId) -> None:
    """Show one export and its files."""
    export = cli.forge.exports.get(job_id, export_id)
    cli.show(export, export_details(export))


@command(
    app,
    "download",
    examples="""
    aiforge export download job-… export-…
    aiforge export download job-… export-… --output model.gguf
    """,
)
def download(
    cli: Cli,
    job_id: JobId,
    export_id: ExportId,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File or directory to write.")
    ] = Path("."),
    file: Annotated[
        str | None, typer.Option("--file", help="Which one, where there are several.")
    ] = None,
) -> None:
    """Download an export and compare its hash; begun again, it goes on where it broke off."""
    with Display(cli.console, "Downloading") as display:
        path = cli.forge.exports.download(
            job_id, export_id, output, name=file, progress=display.bytes
        )
    cli.show({"path": str(path), "size": path.stat().st_size}, lambda console: print(path))


@command(app, "cancel", examples="aiforge export cancel job-… export-…")
def cancel(cli: Cli, job_id: JobId, export_id: ExportId) -> None:
    """Stop an export that waits or is being made; it leaves no file."""
    message = cli.forge.exports.cancel(job_id, export_id)
    cli.show(message, lambda console: console.print(f"{export_id}: {message.message}"))


@command(app, "delete", examples="aiforge export delete job-… export-…")
def delete(cli: Cli, job_id: JobId, export_id: ExportId) -> None:
    """Delete an export that no model is served from, and its files."""
    message = cli.forge.exports.delete(job_id, export_id)
    cli.show(message, lambda console: console.print(f"{export_id}: {message.message}"))


def export_details(export: Export) -> Callable[[Console], None]:
    """Shows one export."""
    return facts(
        [
            ("id", export.export_id),
            ("status", str(export.status)),
            ("waits for", export.queued_reason),
            ("format", f"{export.format} {export.quantization or ''}".strip()),
            ("file", export.output_path),
            ("size", None if export.size is None else size(export.size)),
            ("sha256", export.sha256),
            ("ollama", export.ollama_name),
            *(
                ("holds", f"{file.name} ({size(file.size)})")
                for file in (export.files if len(export.files) > 1 else ())
            ),
            ("error", export.error),
        ]
    )
