"""``aiforge dataset``: training examples made of sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import ago, facts, figure, table
from aiforge.cli.source import Limit, Offset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.client import Dataset
    from aiforge.schemas.datasets import DatasetFormat, Split, TeacherUse

app = group(
    "Datasets: training examples made of sources by RAFT.",
    "aiforge dataset generate first --source src-…",
)

DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="Id of a dataset, as ds-…")]


@command(
    app,
    "generate",
    examples="""
    aiforge dataset generate first --source src-…
    aiforge dataset generate both --source src-a… --source src-b… --max-examples 5000
    aiforge dataset generate taught --source src-… --teacher http://127.0.0.1:11434/v1 \\
        --teacher-model qwen2.5-coder:7b --teacher-requests 500
    """,
)
def generate(
    cli: Cli,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    source: Annotated[list[str], typer.Option("--source", "-s", help="Id of a source; repeat it.")],
    format: Annotated[
        str | None, typer.Option("--format", help="alpaca, chat, sharegpt or completion.")
    ] = None,
    max_examples: Annotated[
        int | None, typer.Option("--max-examples", help="Most examples to make.", min=1)
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="Whose tokenizer measures the examples.")
    ] = None,
    distractors: Annotated[
        int | None, typer.Option("--distractors", help="Chunks beside the golden one.", min=0)
    ] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option("--chunk-tokens", help="Largest chunk, in tokens.", min=32)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything random.", min=0)] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="OpenAI-compatible endpoint that writes too.")
    ] = None,
    teacher_model: Annotated[
        str | None, typer.Option("--teacher-model", help="Its model; alone: by vLLM on the GPUs.")
    ] = None,
    teacher_requests: Annotated[
        int | None, typer.Option("--teacher-requests", help="Most requests to pay for.", min=1)
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Don't wait until it is built.")
    ] = False,
) -> None:
    """Build a dataset from sources."""
    from aiforge.cli.progress import follow_dataset

    given = {"distractors": distractors, "chunk_tokens": chunk_tokens, "seed": seed}
    dataset = cli.forge.datasets.generate(
        name,
        source,
        format=cast("DatasetFormat | None", format),
        max_examples=max_examples,
        base_model=base_model,
        raft={key: value for key, value in given.items() if value is not None},
        teacher=_teacher(teacher, teacher_model, teacher_requests),
    )
    if not detach:
        dataset = follow_dataset(cli.forge, dataset.id, cli.console)
    cli.show(dataset, _details(dataset))
    if not cli.as_json and not detach:
        cli.say(f"Next: aiforge train PROJECT --dataset {dataset.id}")


def _teacher(url: str | None, model: str | None, requests: int | None) -> dict[str, Any] | None:
    if url is None and model is None:
        return None
    given: dict[str, Any] = {"url": url, "model": model, "max_requests": requests}
    asked = {key: value for key, value in given.items() if value is not None}
    return asked if url else asked | {"engine": "vllm"}


@command(
    app,
    "export",
    examples="""
    aiforge dataset export ds-… > train.jsonl
    aiforge dataset export ds-… --split all --format chat --output examples.jsonl
    """,
)
def export(
    cli: Cli,
    dataset_id: DatasetId,
    split: Annotated[str, typer.Option("--split", help="train, validation or all.")] = "train",
    format: Annotated[
        str | None, typer.Option("--format", help="alpaca, chat, sharegpt or completion.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; else to the screen.")
    ] = None,
) -> None:
    """Write the examples of a dataset as lines of JSON."""
    rows = cli.forge.datasets.examples(
        dataset_id, split=cast("Split", split), format=cast("DatasetFormat | None", format)
    )
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if output is None:
        for line in lines:
            typer.echo(line, nl=False)
        return
    partial = output.with_name(f".{output.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.writelines(lines)
    partial.replace(output)
    cli.say(f"Wrote {output}")


@command(app, "list", examples="aiforge dataset list")
def list_(cli: Cli, limit: Limit = 50, offset: Offset = 0) -> None:
    """List datasets, newest first."""
    datasets = cli.forge.datasets.list(limit=limit, offset=offset)
    cli.show(
        datasets,
        table(
            datasets,
            [
                ("ID", lambda d: d.id),
                ("NAME", lambda d: d.name),
                ("STATUS", lambda d: str(d.status)),
                ("EXAMPLES", lambda d: f"{d.example_count:,}"),
                ("FORMAT", lambda d: d.format),
                ("QUALITY", lambda d: figure(d.quality, 2)),
                ("CREATED", lambda d: ago(d.created_at)),
            ],
            "No datasets yet. Build one: aiforge dataset generate NAME --source src-…",
        ),
    )


@command(app, "show", examples="aiforge dataset show ds-…")
def show(cli: Cli, dataset_id: DatasetId) -> None:
    """Show one dataset with its first example."""
    dataset = cli.forge.datasets.get(dataset_id)
    cli.show(dataset, _details(dataset))
    if not cli.as_json and dataset.preview:
        for name in ("instruction", "input", "output"):
            if text := dataset.preview[0].get(name):
                cli.console.print(f"\n[bold]{name}[/]")
                cli.say(str(text)[:1500])


@command(app, "delete", examples="aiforge dataset delete ds-…")
def delete(cli: Cli, dataset_id: DatasetId) -> None:
    """Delete a dataset that no job trains on."""
    message = cli.forge.datasets.delete(dataset_id)
    cli.show(message, lambda console: console.print(f"{dataset_id}: {message.message}"))


def _details(dataset: Dataset) -> Callable[[Console], None]:
    stages = dataset.report.stages if dataset.report else []
    return facts(
        [
            ("id", dataset.id),
            ("name", dataset.name),
            ("status", str(dataset.status)),
            ("sources", ", ".join(dataset.source_ids)),
            ("format", dataset.format),
            ("chunks", f"{dataset.chunk_count:,}"),
            (
                "examples",
                f"{dataset.example_count:,} ({dataset.train_count:,} train, "
                f"{dataset.validation_count:,} held out)",
            ),
            ("quality", figure(dataset.quality, 2)),
            *((f"· {stage.stage}", f"{stage.entered:,} → {stage.left:,}") for stage in stages),
            ("teacher", _use(dataset.report.teacher) if dataset.report else None),
            ("error", dataset.error),
        ]
    )


def _use(use: TeacherUse | None) -> str | None:
    if use is None:
        return None
    cost = "" if use.cost is None else f", cost {use.cost:.4f}"
    return (
        f"{use.model}: {use.pairs:,} questions by {use.requests:,} requests paid for, "
        f"{use.cached:,} known before{cost}"
    )
