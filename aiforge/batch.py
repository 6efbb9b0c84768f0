"""A whole recipe as one Ray job:

    ray job submit --working-dir . -- python -m aiforge.batch configs/train/demo.yaml

It goes through the same services as the API, so what it makes is seen at ``/jobs`` as well. The
exit code is 0 where the job completed and 1 where anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from aiforge import logs
from aiforge.errors import AIForgeError, Failure, InvalidInput
from aiforge.schemas.access import LOCAL, Origin
from aiforge.schemas.batch import Recipe, RecipeSource
from aiforge.schemas.common import Wire, new_id
from aiforge.schemas.datasets import DatasetDetail, DatasetStatus, GenerateRequest
from aiforge.schemas.jobs import FineTuneRequest, Job, JobStatus
from aiforge.schemas.sources import GitSourceRequest, Source, SourceStatus
from aiforge.services import datasets, jobs, plans, sources
from aiforge.services.context import Services
from aiforge.settings import Settings, read_yaml
from aiforge.sources import uploads
from aiforge.storage import Storage

Say = Callable[[str], None]
T = TypeVar("T", bound=Wire)

POLL_SECONDS = 5.0

LONGEST_ID = 100
"""Characters of a request's id, as of one that a client of the API chooses."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a recipe to its end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aiforge.batch", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a file like configs/train/demo.yaml")
    path = parser.parse_args(arguments).recipe
    try:
        recipe = read_recipe(path)
        begins = origin(path)
        services = _open_services(Settings()).on_behalf(LOCAL, begins)
        with logs.about(request=begins.request_id):
            job = asyncio.run(execute(services, recipe, lambda text: print(text, flush=True)))
    except AIForgeError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    print(f"{job.id} completed: {job.result}")
    return 0


def origin(recipe: Path) -> Origin:
    """What the runs of a recipe go back to: Ray's id of the submitted job, where it is one."""
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    submission = job.get("metadata", {}).get("job_submission_id")
    return Origin(
        principal=LOCAL.id,
        principal_name=LOCAL.name,
        action=f"batch {recipe}",
        request_id=(submission or new_id("req"))[:LONGEST_ID],
    )


def read_recipe(path: Path) -> Recipe:
    """A recipe, checked before anything else happens.

    Raises:
        InvalidInput: The file cannot be read or is no recipe.
    """
    try:
        return Recipe.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{path}: {where}: {first['msg']}.", code="recipe_invalid") from error


async def execute(services: Services, recipe: Recipe, say: Say) -> Job:
    """Source, dataset, job: each through its service, each awaited.

    Raises:
        AIForgeError: A part failed; the parts before it stay.
    """
    await asyncio.to_thread(require_room, services, recipe)
    source_id = await _create_source(services, recipe)
    source = await _settled(
        services,
        lambda: sources.get(services, source_id),
        lambda source: source.status != SourceStatus.SYNCING,
    )
    _require(source, source.status == SourceStatus.SYNCED)
    say(f"{source.id}: {source.file_count} files, {source.skipped_count} skipped")
    dataset = await _build(services, recipe, source)
    say(f"{dataset.id}: {dataset.train_count} + {dataset.validation_count} examples")
    started = await jobs.fine_tune(services, _request(recipe, dataset.id))
    say(f"{started.job_id}: queued; follow it with: aiforge job follow {started.job_id}")
    job = await _settled(
        services,
        lambda: jobs.get(services, started.job_id),
        lambda job: job.finished_at is not None,
        lambda job: say(f"{job.id}: {job.stage or job.status}, {job.progress:.0f} %"),
    )
    _require(job, job.status == JobStatus.COMPLETED)
    return job


def require_room(services: Services, recipe: Recipe) -> None:
    """Refuse at once what would be refused, or train for months, after its dataset was built.

    Raises:
        InvalidInput: The cluster is too small, or the base model cannot be had.
    """
    if services.gpus < recipe.gpus:
        raise InvalidInput(
            f"{recipe.project_name} needs {recipe.gpus} GPUs, of which this cluster has "
            f"{services.gpus:g}. Run it where they are, say in AIFORGE_CLUSTER_LIMITS how many an "
            "autoscaler can bring, or take configs/train/demo.yaml, which needs none.",
            code="gpus_missing",
        )
    plans.require_room(plans.draft(services, _request(recipe, ""), None))


def _request(recipe: Recipe, dataset_id: str) -> FineTuneRequest:
    return FineTuneRequest(
        project_name=recipe.project_name, dataset_id=dataset_id, **recipe.train.model_dump()
    )


async def _create_source(services: Services, recipe: Recipe) -> str:
    source = recipe.source
    if source.type == "upload":
        created = await sources.create_upload(
            services,
            recipe.project_name,
            lambda storage, source_id: _send(storage, source_id, source),
            include_patterns=source.include_patterns,
            exclude_patterns=source.exclude_patterns,
        )
    else:
        created = await sources.create_git(services, GitSourceRequest(**source.model_dump()))
    return created.source_id


async def _build(services: Services, recipe: Recipe, source: Source) -> DatasetDetail:
    created = await datasets.generate(
        services,
        GenerateRequest(
            name=recipe.project_name,
            source_ids=[source.id],
            base_model=recipe.train.base_model,
            **recipe.dataset.model_dump(),
        ),
    )
    dataset = await _settled(
        services,
        lambda: datasets.get(services, created.dataset_id),
        lambda dataset: dataset.status != DatasetStatus.GENERATING,
    )
    _require(dataset, dataset.status == DatasetStatus.READY)
    return dataset


async def _settled(
    services: Services,
    read: Callable[[], Awaitable[T]],
    done: Callable[[T], bool],
    show: Callable[[T], None] = lambda value: None,
) -> T:
    """Read a resource at every change of the state until it is done."""
    after = 0
    while not done(value := await read()):
        show(value)
        changes = await services.state.wait_events(after, POLL_SECONDS)
        after = changes[-1].sequence if changes else after
    return value


def _require(resource: Source | DatasetDetail | Job, good: bool) -> None:
    if not good:
        raise Failure(
            f"{resource.id} is {resource.status}: {resource.error or 'see its log'}",
            code=resource.error_code or "batch_failed",
        )


def _send(storage: Storage, source_id: str, source: RecipeSource) -> None:
    """Store the files of a directory as an upload; links and ``.git`` stay behind."""
    root = Path(source.url)
    if not root.is_dir():
        raise InvalidInput(f"{source.url} is no directory.", code="no_directory")
    with ExitStack() as opened:
        uploads.receive(storage, source_id, _files(root, opened))


def _files(root: Path, opened: ExitStack) -> Iterator[tuple[str, BinaryIO]]:
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink():
                opened.close()
                yield str(path.relative_to(root)), opened.enter_context(path.open("rb"))


def _open_services(settings: Settings) -> Services:
    # Ray reads its variables when it is imported; a wrong recipe is refused without it.
    from aiforge.runtime import platform

    return platform.open_services(settings)


if __name__ == "__main__":
    sys.exit(main())
