"""``aiforge demo``: the main job from a repository to a measured model, through the front door.

Whatever an earlier demo made of the same revision and recipe is used again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from aiforge.cli.plots import loss_curve
from aiforge.cli.progress import follow_dataset, follow_job, follow_source
from aiforge.client import AIForge, Dataset, Job, Source
from aiforge.errors import AIForgeError, Conflict, InvalidInput, NotFound
from aiforge.schemas.batch import Recipe
from aiforge.schemas.jobs import JobConfig, JobStatus, Validation
from aiforge.settings import config_dir, read_yaml

T = TypeVar("T")


@dataclass
class Story:
    """What a demo did, and how long each part took in seconds; ``reused`` parts took none."""

    source: Source
    dataset: Dataset
    job: Job
    validation: Validation | None
    plot: Path
    seconds: dict[str, float] = field(default_factory=dict)
    reused: set[str] = field(default_factory=set)


def read_recipe(path: Path | None = None) -> Recipe:
    """The recipe in a file; the shipped demo by default."""
    return Recipe.model_validate(read_yaml(path or config_dir() / "train" / "demo.yaml"))


def own_repository() -> str:
    """The checkout that this package runs from.

    Raises:
        InvalidInput: It runs from an installed wheel.
    """
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        return str(root)
    raise InvalidInput(
        "This installation is no git checkout; name a repository with --source URL or PATH.",
        code="no_own_repository",
    )


class Demo:
    """Runs the recipe against a platform that is up, and shows what happens.

    Args:
        forge: The client.
        recipe: What to make.
        repository: URL or path of the git repository.
        fresh: Make everything anew even where an earlier result would do.
        console: Where to show it.
    """

    def __init__(
        self, forge: AIForge, recipe: Recipe, repository: str, *, fresh: bool, console: Console
    ) -> None:
        self._forge = forge
        self._recipe = recipe
        self._repository = repository
        self._fresh = fresh
        self._console = console
        self._seconds: dict[str, float] = {}
        self._reused: set[str] = set()
        self._running: Job | None = None

    def run(self, plot_dir: Path) -> Story:
        """The whole story.

        Raises:
            AIForgeError: A part failed; the parts before it stay.
        """
        source = self._timed("sync", self._source)
        dataset = self._timed("dataset", lambda: self._dataset(source))
        job = self._timed("training", lambda: self._job(dataset))
        history = self._forge.jobs.metrics(job.id)
        plot = loss_curve(history, f"{job.project_name}: {job.id}", plot_dir / f"{job.id}.png")
        validation = self._timed("validation", lambda: self._validation(job))
        return Story(source, dataset, job, validation, plot, self._seconds, self._reused)

    def cancel(self) -> None:
        """Cancel the job that was being trained, if any."""
        if self._running is not None:
            try:
                self._running.cancel()
            except AIForgeError as error:
                self._console.print(f"[yellow]{error.message}[/]")

    def _timed(self, part: str, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        result = work()
        self._seconds[part] = time.monotonic() - begun
        return result

    def _source(self) -> Source:
        self._heading("Source", self._repository)
        known = next(
            (s for s in self._forge.sources.list(limit=500) if s.url == self._repository), None
        )
        source = (
            known.sync()
            if known
            else self._forge.sources.create_git(
                self._repository,
                name=_repository_name(self._repository),
                include=self._recipe.source.include_patterns,
                exclude=self._recipe.source.exclude_patterns,
            )
        )
        try:
            source = follow_source(self._forge, source.id, self._console)
        except AIForgeError:
            if known is None:
                source.delete()
            raise
        self._say(
            f"{source.file_count} files read, {source.skipped_count} skipped, "
            f"revision {(source.revision or '')[:12]}"
        )
        return source

    def _dataset(self, source: Source) -> Dataset:
        wanted = self._recipe.dataset
        identity = f"{source.id} {source.revision} {wanted.model_dump_json()}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        name = f"{self._recipe.project_name}-{digest}"
        self._heading("RAFT dataset", name)
        for known in self._forge.datasets.list(limit=500):
            if known.name == name and known.status == "ready" and not self._fresh:
                self._reuse("dataset", known.id)
                return self._forge.datasets.get(known.id)
        created = self._forge.datasets.generate(
            name,
            [source.id],
            format=wanted.format,
            max_examples=wanted.max_examples,
            base_model=self._recipe.train.base_model,
            raft=wanted.raft.model_dump(),
        )
        dataset = follow_dataset(self._forge, created.id, self._console)
        self._say(
            f"{dataset.chunk_count} chunks → {dataset.train_count} training and "
            f"{dataset.validation_count} held-out examples"
        )
        return dataset

    def _job(self, dataset: Dataset) -> Job:
        wanted = self._recipe.train
        config = JobConfig.model_validate(wanted.model_dump(exclude={"base_model"}))
        self._heading("Fine-tuning", f"{wanted.base_model}, {wanted.method}, rank {wanted.rank}")
        for known in self._forge.jobs.list(status=JobStatus.COMPLETED, limit=500):
            same = (known.dataset_id, known.base_model) == (dataset.id, wanted.base_model)
            if same and known.config == config and not self._fresh:
                self._reuse("training", known.id)
                return known
        self._running = self._forge.jobs.fine_tune(
            self._recipe.project_name,
            dataset.id,
            wanted.base_model,
            **config.model_dump(exclude_none=True, by_alias=False),
        )
        self._say(f"job {self._running.id}, {config.num_workers} Ray Train workers")
        job = follow_job(self._forge, self._running.id, self._console)
        self._running = None
        return job

    def _validation(self, job: Job) -> Validation | None:
        self._heading("Validation", "base and tuned model on held-out files")
        try:
            measured = job.wait_validation()
        except (Conflict, NotFound) as error:
            self._say(error.message)
            return None
        for verdict in measured.gates:
            self._say(f"{verdict.metric}: {verdict.status}. {verdict.reason}")
        return measured

    def _heading(self, part: str, what: str) -> None:
        self._console.print(f"\n[bold cyan]{part}[/]  {what}")

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False)

    def _reuse(self, part: str, identifier: str) -> None:
        self._reused.add(part)
        self._say(f"nothing changed: {identifier} is used again (--fresh makes it anew)")


def _repository_name(repository: str) -> str:
    return repository.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git") or "repository"


def summary(story: Story) -> Table:
    """The table at the end of a demo."""
    table = Table(title="From repository to model", show_header=False, title_justify="left")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(story):
        table.add_row(name, value)
    return table


def _rows(story: Story) -> Iterator[tuple[str, str]]:
    source, dataset, job = story.source, story.dataset, story.job
    yield "source", f"{source.name} at {(source.revision or '')[:12]}, {source.file_count} files"
    yield "chunks", f"{dataset.chunk_count:,}"
    yield (
        "examples",
        f"{dataset.example_count:,} ({dataset.train_count:,} train, "
        f"{dataset.validation_count:,} held out)",
    )
    yield "quality", "not measured" if dataset.quality is None else f"{dataset.quality:.2f} of 1"
    yield "training", f"{job.method}, rank {job.config.rank}, {job.config.num_workers} workers"
    yield "steps", f"{job.metrics.current_step:,} in {job.metrics.total_epochs} epochs"
    if (rate := job.result.get("tokensPerSecond")) is not None:
        yield "tokens/s", f"{rate:,.0f}"
    yield "perplexity", _perplexity(story.validation)
    if story.validation is not None:
        measured = story.validation
        yield "gate", f"{'passed' if measured.passed else 'not passed'} ({measured.policy})"
    yield "adapter", str(job.result.get("adapterPath", "none"))
    yield "loss curve", str(story.plot)
    yield (
        "time",
        ", ".join(
            f"{part} {seconds:.0f} s{' (reused)' if part in story.reused else ''}"
            for part, seconds in story.seconds.items()
        ),
    )


def _perplexity(validation: Validation | None) -> str:
    if validation is None or validation.metrics.perplexity is None:
        return "not measured"
    after = validation.metrics.perplexity
    if validation.baseline is None or validation.baseline.perplexity is None:
        return f"{after:.2f}"
    before = validation.baseline.perplexity
    scored = validation.metrics.scored_tokens or 0
    return f"{before:.2f} → {after:.2f} on held-out files ({scored:,} tokens)"


def next_steps(story: Story, url: str) -> list[str]:
    """Commands that work as they stand after a demo."""
    return [
        f"curl -s {url}/jobs/{story.job.id}",
        f"curl -s '{url}/jobs/{story.job.id}/logs?tail=20'",
        f"curl -s {url}/datasets/{story.dataset.id}",
        f"aiforge train my-project --dataset {story.dataset.id} --epochs 3",
        "aiforge down",
    ]
