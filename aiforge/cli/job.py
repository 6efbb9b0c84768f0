"""``aiforge job``: training jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from aiforge.cli.frame import Cli, ExitCode, command, group, leave, to_json
from aiforge.cli.output import ago, duration, facts, figure, printable, table
from aiforge.cli.source import Limit, Offset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.client import Job
    from aiforge.schemas.jobs import Validation

app = group("Training jobs.", "aiforge job list")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, as job-…")]


@command(
    app,
    "list",
    examples="""
    aiforge job list
    aiforge job list --status running --json
    """,
)
def list_(
    cli: Cli,
    status: Annotated[
        str | None,
        typer.Option("--status", help="queued, running, cancelling, completed, failed, cancelled."),
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> None:
    """List jobs, newest first."""
    jobs = cli.forge.jobs.list(status=status, limit=limit, offset=offset)
    cli.show(
        jobs,
        table(
            jobs,
            [
                ("ID", lambda j: j.id),
                ("PROJECT", lambda j: j.project_name),
                ("STATUS", lambda j: str(j.status)),
                ("PROGRESS", lambda j: f"{j.progress:.0f}%"),
                ("LOSS", lambda j: figure(j.metrics.loss)),
                ("BASE MODEL", lambda j: j.base_model),
                ("METHOD", lambda j: j.method),
                ("CREATED", lambda j: ago(j.created_at)),
            ],
            "No jobs yet. Start one: aiforge train PROJECT",
        ),
    )


@command(app, "show", examples="aiforge job show job-…")
def show(cli: Cli, job_id: JobId) -> None:
    """Show one job."""
    job = cli.forge.jobs.get(job_id)
    cli.show(job, job_details(job))


@command(
    app,
    "follow",
    examples="""
    aiforge job follow job-…
    aiforge job follow job-… --logs
    aiforge job follow job-… --json    (events, one JSON document per line)
    """,
)
def follow(
    cli: Cli,
    job_id: JobId,
    logs: Annotated[bool, typer.Option("--logs", help="Print the job's log as well.")] = False,
) -> None:
    """Show a job's progress until it has ended; Ctrl-C leaves it running."""
    if cli.as_json:
        for event in cli.forge.jobs.follow(job_id):
            print(json.dumps(to_json(event), ensure_ascii=False), flush=True)
        from aiforge.client import require_completed

        require_completed(cli.forge.jobs.get(job_id))
        return
    job = follow_or_detach(cli, job_id, logs=logs)
    job_details(job)(cli.console)


@command(app, "logs", examples="aiforge job logs job-… --tail 500")
def logs(
    cli: Cli,
    job_id: JobId,
    tail: Annotated[
        int, typer.Option("--tail", "-n", help="Lines from the end.", min=1, max=10_000)
    ] = 100,
) -> None:
    """Print the end of a job's log."""
    found = cli.forge.jobs.logs(job_id, tail=tail)
    cli.show(found, lambda console: print(printable("\n".join(found.logs))))


@command(
    app,
    "metrics",
    examples="""
    aiforge job metrics job-…
    aiforge job metrics job-… --json > curves.json
    """,
)
def metrics(
    cli: Cli,
    job_id: JobId,
    tail: Annotated[int, typer.Option("--tail", "-n", help="Steps from the end.", min=1)] = 20,
) -> None:
    """Show a job's curves, step by step."""
    history = cli.forge.jobs.metrics(job_id)
    rows = list(
        zip(
            history.steps,
            history.losses,
            history.learning_rates,
            history.grad_norms,
            history.tokens_per_second,
            history.eval_losses,
            history.mfu,
            history.memory_bytes,
            strict=True,
        )
    )
    cli.show(
        history,
        table(
            rows[-tail:],
            [
                ("STEP", lambda row: str(row[0])),
                ("LOSS", lambda row: figure(row[1], 4)),
                ("LEARNING RATE", lambda row: "" if row[2] is None else f"{row[2]:.2e}"),
                ("GRADIENT NORM", lambda row: figure(row[3])),
                ("TOKENS/S", lambda row: figure(row[4], 0)),
                ("HELD-OUT LOSS", lambda row: figure(row[5], 4)),
                ("MFU", lambda row: "" if row[6] is None else f"{row[6]:.1%}"),
                ("MEMORY", lambda row: "" if row[7] is None else f"{row[7] / 2**30:.2f} GiB"),
            ],
            "Nothing was measured yet.",
        ),
    )


@command(app, "cancel", examples="aiforge job cancel job-…")
def cancel(cli: Cli, job_id: JobId) -> None:
    """Cancel a job that waits or runs."""
    job = cli.forge.jobs.cancel(job_id)
    cli.show(job, lambda console: console.print(f"{job.id}: {job.status}"))


@command(
    app,
    "validate",
    examples="""
    aiforge job validate job-…
    aiforge job validate job-… --exam-items 50
    aiforge job validate job-… --show
    """,
)
def validate(
    cli: Cli,
    job_id: JobId,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Gate policy; by the model's size when absent.")
    ] = None,
    exam_items: Annotated[
        int | None,
        typer.Option(
            "--exam-items",
            min=0,
            max=200,
            help="Functions of the repository's exam to sit, 0 for none; the policy's when absent.",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show what was measured last, and measure nothing.")
    ] = False,
) -> None:
    """Measure again what a job trained, and show what the gate says."""
    if not show:
        cli.forge.jobs.validate(job_id, policy=policy, exam_items=exam_items)
    with cli.console.status(f"Measuring {job_id}"):
        measured = cli.forge.jobs.wait_validation(job_id)
    cli.show(measured, validation_details(measured))


def validation_details(measured: Validation) -> Callable[[Console], None]:
    """Shows what was measured of a job, and the gate's reasons."""
    verdict = {True: "passed", False: "not passed", None: None}[measured.passed]
    return facts(
        [
            ("job", measured.job_id),
            ("model", measured.model_id),
            ("policy", measured.policy),
            ("gate", verdict),
            *((str(one.metric), f"{one.status}: {one.reason}") for one in measured.gates),
            *(
                (metric, f"not measured: {reason}")
                for metric, reason in measured.metrics.not_measured.items()
            ),
        ]
    )


def follow_or_detach(cli: Cli, job_id: str, *, logs: bool = False) -> Job:
    """Follow a job to its end; on Ctrl-C leave it running and say how to come back."""
    from aiforge.cli.progress import follow_job

    try:
        return follow_job(cli.forge, job_id, cli.console, logs=logs)
    except KeyboardInterrupt:
        cli.say(
            f"Detached; {job_id} goes on. Follow it again: aiforge job follow {job_id}\n"
            f"Cancel it: aiforge job cancel {job_id}"
        )
        leave(ExitCode.INTERRUPTED)


def job_details(job: Job) -> Callable[[Console], None]:
    """Shows one job."""
    metrics, config = job.metrics, job.config
    lasted = (
        duration((job.finished_at - job.started_at).total_seconds())
        if job.finished_at and job.started_at
        else None
    )
    rate = job.result.get("tokensPerSecond")
    return facts(
        [
            ("id", job.id),
            ("project", job.project_name),
            ("status", str(job.status)),
            ("waits for", job.queued_reason),
            ("base model", job.base_model),
            ("method", f"{job.method}, rank {config.rank}, {config.epochs} epochs"),
            ("dataset", f"{job.dataset_name} ({job.dataset_id})"),
            ("progress", f"{job.progress:.0f}%" + (f", {job.stage}" if job.stage else "")),
            ("step", f"{metrics.current_step:,} of {metrics.total_steps:,}"),
            ("loss", figure(metrics.loss, 4)),
            ("tokens/s", figure(rate if rate is not None else metrics.tokens_per_second, 0)),
            ("lasted", lasted),
            ("adapter", job.result.get("adapterPath")),
            ("error", job.error),
        ]
    )
