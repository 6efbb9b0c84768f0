"""``aiforge train``: start a fine-tuning job and follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from aiforge.cli.frame import Cli, command
from aiforge.cli.job import follow_or_detach, job_details
from aiforge.cli.plan import plan_details
from aiforge.errors import InvalidInput

if TYPE_CHECKING:
    from aiforge.client._flows.jobs import JobOptions
    from aiforge.schemas.jobs import Method, ScheduleShape

DEFAULT_BASE_MODEL = "forge-tiny"

_EXAMPLES = """
aiforge train myproject                                  (newest dataset, forge-tiny)
aiforge train myproject --dataset ds-… --base-model Llama-3.2-3B --epochs 3
aiforge train myproject --source src-… --detach          (builds the dataset first)
aiforge train myproject --base-model Llama-3.2-3B --plan (memory, disk, data and time)
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    command(app, "train", examples=_EXAMPLES)(train)


def train(
    cli: Cli,
    project: Annotated[str, typer.Argument(help="What the model is for; names it.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-D", help="Id; the newest ready one by default.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", help="Build a dataset from these sources first."),
    ] = None,
    base_model: Annotated[
        str, typer.Option("--base-model", "-m", help="Alias, hub id or directory.")
    ] = DEFAULT_BASE_MODEL,
    epochs: Annotated[int | None, typer.Option("--epochs")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr")] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Of the adapter.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Per worker.")] = None,
    gradient_accumulation: Annotated[int | None, typer.Option("--gradient-accumulation")] = None,
    warmup_steps: Annotated[int | None, typer.Option("--warmup-steps")] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay")] = None,
    method: Annotated[str | None, typer.Option("--method", help="pissa, lora or full.")] = None,
    max_seq_length: Annotated[
        int | None, typer.Option("--max-seq-length", help="Tokens per example.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", help="Ray Train workers, or a range as 1-4.")
    ] = None,
    zero_stage: Annotated[
        int | None, typer.Option("--zero-stage", help="DeepSpeed ZeRO, 0 to 3; chosen by default.")
    ] = None,
    offload: Annotated[
        bool, typer.Option("--offload", help="Keep state in the host's memory (ZeRO 3).")
    ] = False,
    quantize_base: Annotated[
        bool, typer.Option("--quantize-base", help="Keep the frozen base in 4 bits.")
    ] = False,
    activation_checkpointing: Annotated[
        bool, typer.Option("--activation-checkpointing", help="Less memory, a third slower.")
    ] = False,
    target_modules: Annotated[
        list[str] | None, typer.Option("--target", help="Layer to adapt, as q_proj; repeatable.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="cosine, linear or constant.")
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option("--eval-every", help="Steps between evaluations.")
    ] = None,
    early_stopping: Annotated[
        int | None, typer.Option("--early-stopping", help="Evaluations without gain to end after.")
    ] = None,
    resume_from: Annotated[
        str | None, typer.Option("--resume-from", help="Job to take up.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything random.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what it would take, and start nothing.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--detach", help="Show progress until it has ended.")
    ] = True,
) -> None:
    """Fine-tune a model on a dataset and follow it; Ctrl-C leaves the job running."""
    if dataset and source:
        raise typer.BadParameter("give --dataset or --source, not both")
    dataset_id = dataset or (_build(cli, project, source, base_model) if source else _newest(cli))
    least, most = _worker_range(workers)
    options: JobOptions = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "rank": rank,
        "batch_size": batch_size,
        "gradient_accumulation": gradient_accumulation,
        "warmup_steps": warmup_steps,
        "weight_decay": weight_decay,
        "method": cast("Method | None", method),
        "max_seq_length": max_seq_length,
        "num_workers": most,
        "min_workers": least,
        "zero_stage": zero_stage,
        "offload": offload or None,
        "quantize_base": quantize_base or None,
        "activation_checkpointing": activation_checkpointing or None,
        "target_modules": target_modules,
        "schedule": cast("ScheduleShape | None", schedule),
        "eval_every": eval_every,
        "early_stopping": early_stopping,
        "resume_from": resume_from,
        "seed": seed,
    }
    if plan:
        planned = cli.forge.jobs.plan(project, dataset_id, base_model, **options)
        cli.show(planned, plan_details(planned))
        return
    job = cli.forge.jobs.fine_tune(project, dataset_id, base_model, **options)
    cli.say(f"Job {job.id} on dataset {job.dataset_name}.")
    if follow:
        job = follow_or_detach(cli, job.id)
    elif not cli.as_json:
        cli.say(f"Follow it: aiforge job follow {job.id}")
        return
    cli.show(job, job_details(job))


def _worker_range(text: str | None) -> tuple[int | None, int | None]:
    """Fewest and most workers of ``4`` or ``1-4``."""
    if text is None:
        return None, None
    least, dash, most = text.partition("-")
    if not least.isdecimal() or (dash and not most.isdecimal()):
        raise typer.BadParameter(f"--workers takes a number or a range as 1-4, not {text!r}")
    return (int(least), int(most)) if dash else (None, int(least))


def _newest(cli: Cli) -> str:
    for dataset in cli.forge.datasets.list(limit=500):
        if dataset.status == "ready":
            cli.say(f"No --dataset given: taking the newest, {dataset.name} ({dataset.id}).")
            return dataset.id
    raise InvalidInput(
        "There is no ready dataset; build one with `aiforge dataset generate NAME --source SRC`, "
        "or give --source.",
        code="no_dataset",
    )


def _build(cli: Cli, project: str, sources: list[str], base_model: str) -> str:
    from aiforge.cli.progress import follow_dataset

    created = cli.forge.datasets.generate(project, sources, base_model=base_model)
    dataset = follow_dataset(cli.forge, created.id, cli.console)
    cli.say(f"Dataset {dataset.id}: {dataset.example_count:,} examples.")
    return dataset.id
