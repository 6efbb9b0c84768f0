"""Shows long work while it goes on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aiforge.cli.output import duration, printable, size
from aiforge.errors import Cancelled, Failure

if TYPE_CHECKING:
    from rich.console import Console

    from aiforge.client import AIForge, Dataset, Job, Source
    from aiforge.schemas.jobs import JobMetrics

T = TypeVar("T")

POLL_SECONDS = 0.4
LINE_SECONDS = 10.0
"""Where there is no terminal, a line is printed at least so far apart."""


class Display:
    """One line that shows how far something is; use it as a context manager.

    Args:
        console: Where to show it.
        label: What it is.
    """

    def __init__(self, console: Console, label: str) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}", style="cyan"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=100.0, figures="")
        self._label = label
        self._last = ("", 0.0)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def show(self, percent: float, stage: str | None, figures: str = "") -> None:
        """Bring the line up to date.

        Args:
            percent: 0 to 100.
            stage: What is being done.
            figures: What else is worth knowing.
        """
        said = stage and stage.casefold() != self._label.casefold()
        description = f"{self._label}: {stage}" if said else self._label
        self._progress.update(
            self._task, completed=percent, description=description, figures=figures
        )
        if not self._console.is_terminal:
            self._print_line(description, f"{description}  {percent:.0f}%  {figures}".rstrip())

    def bytes(self, there: int, total: int) -> None:
        """Bring the line of a transfer up to date."""
        percent = 100.0 * there / total if total else 100.0
        self.show(percent, None, f"{size(there)} of {size(total)}")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)

    def _print_line(self, description: str, line: str) -> None:
        before, at = self._last
        if description != before or time.monotonic() - at >= LINE_SECONDS:
            self._console.print(line, markup=False, highlight=False)
            self._last = (description, time.monotonic())


def follow_source(forge: AIForge, source_id: str, console: Console) -> Source:
    """Show a source being read, and return it once it was.

    Raises:
        Failure: It could not be read.
    """
    from aiforge.schemas.sources import SourceStatus

    source = _follow(
        lambda: forge.sources.get(source_id),
        lambda source: source.status != SourceStatus.SYNCING,
        lambda source: (source.progress, None),
        Display(console, "Reading"),
    )
    return source.wait()


def follow_dataset(forge: AIForge, dataset_id: str, console: Console) -> Dataset:
    """Show a dataset being built, and return it once it is ready.

    Raises:
        Failure: It could not be built.
    """
    from aiforge.schemas.datasets import DatasetStatus

    dataset = _follow(
        lambda: forge.datasets.get(dataset_id),
        lambda dataset: dataset.status != DatasetStatus.GENERATING,
        lambda dataset: (dataset.progress, dataset.stage),
        Display(console, "Building"),
    )
    return dataset.wait()


def _follow(
    read: Callable[[], T],
    done: Callable[[T], bool],
    describe: Callable[[T], tuple[float, str | None]],
    display: Display,
) -> T:
    with display:
        while not done(value := read()):
            display.show(*describe(value))
            time.sleep(POLL_SECONDS)
    return value


def follow_job(forge: AIForge, job_id: str, console: Console, *, logs: bool = False) -> Job:
    """Show a job with step, loss, tokens/s and time left, and return it once it has completed.

    ``KeyboardInterrupt`` ends the following and not the job.

    Args:
        logs: Print the job's log above the bar.

    Raises:
        Failure: The job failed.
        Cancelled: It was cancelled.
    """
    from aiforge.schemas.jobs import JobStatus

    job = forge.jobs.get(job_id)
    with Display(console, "Training") as display:
        for event in job.follow():
            if event.type == "job.updated":
                job = type(job).of(job._driver, type(job).model_validate(event.data))
                display.show(job.progress, _stage(job), job_figures(job.metrics))
            elif event.type == "job.log" and logs:
                display.line(log_line(event.data))
    job.refresh()
    if job.status == JobStatus.FAILED:
        raise Failure(
            f"{job.id} failed: {job.error or 'the log says why'} See `aiforge job logs {job.id}`.",
            code=job.error_code,
        )
    if job.status == JobStatus.CANCELLED:
        raise Cancelled(f"{job.id} was cancelled.", code="job_cancelled")
    return job


def _stage(job: Job) -> str | None:
    if job.status == "queued":
        return f"waiting, {job.queued_reason}" if job.queued_reason else "waiting"
    return job.stage or str(job.status)


def job_figures(metrics: JobMetrics) -> str:
    """A job's step, loss, tokens/s and time left, as far as they are known."""
    parts = []
    if metrics.current_step:
        of = f"/{metrics.total_steps}" if metrics.total_steps else ""
        parts.append(f"step {metrics.current_step}{of}")
    if metrics.loss is not None:
        parts.append(f"loss {metrics.loss:.3f}")
    if metrics.tokens_per_second is not None:
        parts.append(f"{metrics.tokens_per_second:,.0f} tok/s")
    if metrics.remaining_seconds is not None:
        parts.append(f"{duration(metrics.remaining_seconds)} left")
    return " · ".join(parts)


def log_line(data: dict[str, Any]) -> str:
    """A log line of an event, as ``job logs`` prints it."""
    return printable(f"[{str(data.get('level', 'info')).upper()}] {data.get('message', '')}")
