"""``aiforge model``: the versions that trainings made, and which of them answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from aiforge.cli.export import Format, Quantized, export_details
from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import ago, facts, figure, table
from aiforge.cli.source import Limit, Offset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.client import Model
    from aiforge.schemas.exports import ExportFormat, Quantization

app = group("Models: versions of what was trained, one per project active.", "aiforge model list")

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Id of a model, as model-…")]
Reason = Annotated[
    str | None, typer.Option("--reason", "-m", help="Why; kept in the model's history.")
]


@command(
    app,
    "list",
    examples="""
    aiforge model list
    aiforge model list --project myproject --status active
    """,
)
def list_(
    cli: Cli,
    project: Annotated[
        str | None, typer.Option("--project", help="Only models of this project.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="ready, deploying, active or failed.")
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> None:
    """List models, newest first."""
    models = cli.forge.models.list(project_name=project, status=status, limit=limit, offset=offset)
    cli.show(
        models,
        table(
            models,
            [
                ("ID", lambda m: m.id),
                ("NAME", lambda m: m.name),
                ("STATUS", lambda m: str(m.status)),
                ("PERPLEXITY", lambda m: figure(m.metrics.perplexity, 2)),
                ("CODEBLEU", lambda m: figure(m.metrics.codebleu, 3)),
                ("HUMANEVAL", lambda m: figure(m.metrics.humaneval, 3)),
                ("OLLAMA", lambda m: m.ollama_name or ""),
                ("CREATED", lambda m: ago(m.created_at)),
            ],
            "No models yet. Train one: aiforge train PROJECT",
        ),
    )


@command(app, "show", examples="aiforge model show model-…")
def show(cli: Cli, model_id: ModelId) -> None:
    """Show one model, where it comes from, and what was done to it."""
    model = cli.forge.models.get(model_id)
    if cli.as_json:
        cli.show(model, _details(model))
        return
    lineage = cli.forge.models.lineage(model_id)
    _details(model)(cli.console)
    facts(
        [
            ("dataset", f"{lineage.dataset.name} ({lineage.dataset.id})"),
            *(
                ("source", f"{source.url or source.name or source.id} at {source.revision[:12]}")
                for source in lineage.sources
            ),
            *(
                (
                    ago(change.at),
                    f"{change.action} by {change.actor}"
                    + (f": {change.reason}" if change.reason else ""),
                )
                for change in cli.forge.models.history(model_id)
            ),
        ]
    )(cli.console)


@command(
    app,
    "active",
    examples="""
    aiforge model active
    aiforge model active --project myproject --json
    """,
)
def active(
    cli: Cli,
    project: Annotated[str | None, typer.Option("--project", help="Of this project.")] = None,
) -> None:
    """Show the active model of a project; of all projects the one activated last."""
    model = cli.forge.models.active(project)
    cli.show(model, _details(model))


@command(
    app,
    "export",
    examples="""
    aiforge model export model-…
    aiforge model export model-… --quantization q8_0
    """,
)
def export(
    cli: Cli,
    model_id: ModelId,
    quantization: Quantized = None,
    format: Format = None,
) -> None:
    """Export a model as a file that was compared with what was trained."""
    job_id = cli.forge.models.get(model_id).job_id
    with cli.console.status(f"Exporting {model_id}"):
        made = cli.forge.exports.create(
            job_id,
            quantization=cast("Quantization | None", quantization),
            format=cast("ExportFormat | None", format),
        )
    cli.show(made, export_details(made))
    if not cli.as_json:
        cli.say(f"Have it: aiforge export download {job_id} {made.export_id}")


@command(app, "deploy", examples="aiforge model deploy model-…")
def deploy(cli: Cli, model_id: ModelId, reason: Reason = None) -> None:
    """Deploy a model to Ollama, verified through the server; export it first where need be."""
    with cli.console.status(f"Deploying {model_id}"):
        model = cli.forge.models.deploy(model_id, reason=reason)
    cli.show(model, _details(model))
    if not cli.as_json:
        cli.say(f"Next: aiforge model activate {model_id}")


@command(app, "activate", examples='aiforge model activate model-… --reason "knows the parser"')
def activate(cli: Cli, model_id: ModelId, reason: Reason = None) -> None:
    """Make a model the active one of its project, once it was seen to answer."""
    with cli.console.status(f"Activating {model_id}"):
        model = cli.forge.models.activate(model_id, reason=reason)
    cli.show(model, _details(model))
    if not cli.as_json:
        cli.say(f'Next: aiforge chat "{model.project_name}" "What does this project do?"')


@command(app, "rollback", examples='aiforge model rollback model-… --reason "worse answers"')
def rollback(cli: Cli, model_id: ModelId, reason: Reason = None) -> None:
    """Return from the active model to the version that was active before."""
    with cli.console.status(f"Rolling back from {model_id}"):
        model = cli.forge.models.rollback(model_id, reason=reason)
    cli.show(model, _details(model))


@command(app, "delete", examples="aiforge model delete model-…")
def delete(cli: Cli, model_id: ModelId, reason: Reason = None) -> None:
    """Delete a model that is not active; its history stays."""
    message = cli.forge.models.delete(model_id, reason=reason)
    cli.show(message, lambda console: console.print(f"{model_id}: {message.message}"))


def _details(model: Model) -> Callable[[Console], None]:
    metrics = model.metrics
    return facts(
        [
            ("id", model.id),
            ("name", model.name),
            ("status", str(model.status)),
            ("base model", f"{model.base_model}, {model.method}"),
            ("job", model.job_id),
            ("perplexity", figure(metrics.perplexity, 3) or None),
            ("codebleu", figure(metrics.codebleu, 3) or None),
            ("humaneval", figure(metrics.humaneval, 3) or None),
            ("latency", None if metrics.avg_latency is None else f"{metrics.avg_latency:.0f} ms"),
            ("ollama", model.ollama_name),
            ("answers by", model.engine),
            ("error", model.error),
        ]
    )
