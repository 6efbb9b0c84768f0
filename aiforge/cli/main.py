"""The ``aiforge`` command and its nouns."""

from __future__ import annotations

from typing import Annotated

import typer

from aiforge import __version__
from aiforge.cli import (
    artifact,
    audit,
    chat,
    dataset,
    export,
    job,
    key,
    metrics,
    mission,
    model,
    platform,
    source,
    train,
    upkeep,
    watch,
    webhook,
)
from aiforge.cli.frame import ExitCode

_STATUSES = "\n\n".join(f"{int(code)}  {code.meaning}" for code in ExitCode)

app = typer.Typer(
    name="aiforge",
    help="From a code repository to a language model that knows it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="[bold]First steps[/]\n\naiforge demo\n\naiforge up --detach\n\n"
    "aiforge source add https://github.com/owner/repository\n\n"
    "aiforge dataset generate first --source src-…\n\naiforge train myproject\n\n"
    "[bold]Completion[/]\n\naiforge --install-completion    (then start a new shell)\n\n"
    f"[bold]Exit status[/]\n\n{_STATUSES}",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aiforge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """From a code repository to a language model that knows it."""


platform.register(app)
upkeep.register(app)
train.register(app)
chat.register(app)
watch.register(app)
app.add_typer(source.app, name="source")
app.add_typer(dataset.app, name="dataset")
app.add_typer(job.app, name="job")
app.add_typer(model.app, name="model")
app.add_typer(export.app, name="export")
app.add_typer(artifact.app, name="artifact")
app.add_typer(key.app, name="key")
app.add_typer(audit.app, name="audit")
app.add_typer(metrics.app, name="metrics")
app.add_typer(webhook.app, name="webhook")
app.add_typer(mission.app, name="mission")
