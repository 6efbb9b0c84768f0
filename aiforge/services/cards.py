"""Model cards: what a model was made of, how it was measured, how to use it; in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.jobs import Validation
from aiforge.schemas.models import Lineage, Sample, latest_tag
from aiforge.state import jobs, lineage
from aiforge.state.access import State
from aiforge.state.deployments import DeployOutcome

_METRICS = ("perplexity", "bits_per_byte", "codebleu", "humaneval", "latency")


def of_model(state: State, model_id: str, outcome: DeployOutcome | None = None) -> str:
    """The card of a model as it is now.

    Args:
        outcome: What its engine was just seen to answer.

    Raises:
        NotFound: There is no such model.
    """
    origin = state.call_sync(lineage.of_model, model_id)
    try:
        validation = state.call_sync(jobs.validation, origin.job.id)
    except (Conflict, NotFound):
        # It is being measured, could not be, or nobody asked for it.
        validation = None
    return "\n".join(_lines(origin, validation, outcome)) + "\n"


def _lines(
    origin: Lineage, validation: Validation | None, outcome: DeployOutcome | None
) -> Iterator[str]:
    model = origin.model
    yield f"# {_text(model.name)}"
    yield ""
    yield (
        f"`{_text(model.base_model)}` fine-tuned by {model.method} on "
        f"{_text(origin.dataset.name)} for the project {_text(model.project_name)}."
    )
    yield ""
    yield from _table("Model", _facts(origin))
    yield from _table("Measured", _measured(validation))
    yield from _table("Data", _data(origin))
    if outcome is not None:
        yield from _table("Seen to answer", _seen(outcome))
        yield from _answers(outcome.sample)
    yield "## Use"
    yield ""
    yield "```"
    if model.ollama_name:
        yield f"ollama run {latest_tag(model.project_name)}"
    yield f'aiforge chat "{_text(model.project_name)}" "What does this project do?"'
    yield "```"


def _table(title: str, rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in rows:
        yield f"| {name} | {_text(value)} |"
    yield ""


def _facts(origin: Lineage) -> Iterator[tuple[str, str]]:
    model, config = origin.model, origin.job.config
    yield "id", model.id
    yield "version", str(model.version)
    yield "job", origin.job.id
    yield "method", f"{model.method}, rank {config.rank}, {config.epochs} epochs"
    yield "learning rate", f"{config.learning_rate:g}"
    if origin.job.final_loss is not None:
        yield "final loss", f"{origin.job.final_loss:.3f}"
    yield "made", model.created_at.isoformat(timespec="seconds")


def _measured(validation: Validation | None) -> Iterator[tuple[str, str]]:
    if validation is None:
        yield "nothing", "no validation has run"
        return
    for name in _METRICS:
        value = getattr(validation.metrics, name, None)
        if value is not None:
            base = getattr(validation.baseline, name, None)
            beside = "" if base is None else f" (base model: {base:.4g})"
            yield name.replace("_", " "), f"{value:.4g}{beside}"
    passed = {True: "passed", False: "not passed", None: "not evaluated"}[validation.passed]
    yield "gate", passed


def _data(origin: Lineage) -> Iterator[tuple[str, str]]:
    count = origin.dataset.example_count
    yield "dataset", origin.dataset.id + ("" if count is None else f", {count:,} examples")
    for source in origin.sources:
        yield "source", f"{source.url or source.name or source.id} at {source.revision}"


def _seen(outcome: DeployOutcome) -> Iterator[tuple[str, str]]:
    yield "engine", outcome.engine
    if outcome.ollama_name:
        yield "name", outcome.ollama_name
    if outcome.digest:
        yield "digest", outcome.digest
    yield "prompt", f"{outcome.prompt_tokens} tokens, as in training"


def _answers(sample: Sample | None) -> Iterator[str]:
    if sample is None:
        return
    yield "## One question"
    yield ""
    for who, text in (
        ("Asked", sample.question),
        ("The base model", sample.base or "(not asked)"),
        ("This model", sample.tuned),
    ):
        yield f"{who}:"
        yield ""
        # Indented text is shown as it is, whatever it holds.
        yield from (f"    {line}" for line in text.splitlines() or [""])
        yield ""


def _text(value: str) -> str:
    """A value that cannot become part of the table or of the page."""
    return value.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
