"""``aiforge demo``: the main job from a repository to a model that answers, through the front door.

Whatever an earlier demo made of the same revision and recipe is used again.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from aiforge.cli.plots import loss_curve
from aiforge.cli.progress import follow_dataset, follow_job, follow_source
from aiforge.client import AIForge, Dataset, Job, Model, Source
from aiforge.errors import AIForgeError, Conflict, InvalidInput, NotFound
from aiforge.schemas.batch import Recipe
from aiforge.schemas.exports import Quantization
from aiforge.schemas.jobs import JobConfig, JobStatus, Validation
from aiforge.schemas.models import ModelStatus, Sample
from aiforge.settings import config_dir, read_yaml

T = TypeVar("T")

QUANTIZATION: Quantization = "q8_0"
"""A small model keeps what it learned in this type, and it is made within seconds."""

ANSWER_TOKENS = 64


@dataclass
class Story:
    """What a demo did, and how long each part took in seconds; ``reused`` parts took none."""

    source: Source
    dataset: Dataset
    job: Job
    validation: Validation | None
    plot: Path
    model: Model
    sample: Sample | None
    answer: str
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
        model = self._timed("deployment", lambda: self._model(job))
        sample = self._sample(model)
        answer = self._timed("answer", lambda: self._answer(model, sample))
        return Story(
            source,
            dataset,
            job,
            validation,
            plot,
            model,
            sample,
            answer,
            self._seconds,
            self._reused,
        )

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

    def _model(self, job: Job) -> Model:
        """The job's model, active: through Ollama where there is one, else by llama.cpp."""
        models = self._forge.models.list(project_name=job.project_name, limit=500)
        model = next(model for model in models if model.job_id == job.id)
        self._heading("Model", f"{model.name}, {model.id}")
        if model.status == ModelStatus.ACTIVE and not self._fresh:
            self._reuse("deployment", model.id)
            return model
        with self._console.status("exporting and comparing it with the trained model"):
            export = self._forge.exports.create(job.id, quantization=QUANTIZATION)
        self._say(f"exported as {export.quantization}, {(export.size or 0) / 1e6:.1f} MB, compared")
        if self._forge.system.status().ollama.status == "running":
            with self._console.status("deploying it to Ollama"):
                model = model.deploy(reason="demo")
            self._say(f"deployed to Ollama as {model.ollama_name}, verified there")
        with self._console.status("activating it"):
            model = model.activate(reason="demo")
        self._say(f"active, answers by {model.engine}")
        return model

    def _sample(self, model: Model) -> Sample | None:
        """One question that was answered by the base model as well when this one was activated."""
        for change in reversed(model.history()):
            if change.model_id == model.id and (sample := change.detail.get("sample")):
                return Sample.model_validate(sample)
        return None

    def _answer(self, model: Model, sample: Sample | None) -> str:
        question = sample.question if sample else "What does this project do?"
        self._heading("Answer", question)
        with self._console.status("asking the model"):
            answer = self._forge.chat.complete(
                model.project_name, question, max_tokens=ANSWER_TOKENS, temperature=0
            )
        return answer.choices[0].message.content.strip()

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
    yield "model", f"{story.model.name} ({story.model.id}), answers by {story.model.engine}"
    if story.sample is not None:
        yield "asked", story.sample.question
        yield "base model", story.sample.base or "(not asked: too large)"
    yield "tuned model", story.answer
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
        f'aiforge chat {shlex.quote(story.model.project_name)} "What does this project do?"',
        f"aiforge model show {story.model.id}",
        f"aiforge train my-project --dataset {story.dataset.id} --epochs 3",
        "aiforge down",
    ]
