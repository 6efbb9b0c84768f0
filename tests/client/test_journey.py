"""The client against the real API: the whole road, in both faces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from served import BASE_MODEL, World

from aiforge.client import AIForge, AsyncAIForge, Job
from aiforge.errors import Cancelled, Conflict, Failure, InvalidInput, NotFound, SchemaViolation
from aiforge.schemas.jobs import JobConfig
from aiforge.sources.uploads import Received


@pytest.fixture
def repository(make_repository: Callable[[Mapping[str, str]], Path]) -> Path:
    return make_repository({"a.py": "x = 1\n"})


@pytest.fixture
def dataset_id(forge: AIForge, world: World, repository: Path) -> str:
    source = forge.sources.create_git(str(repository))
    world.finish(source.id)
    dataset = forge.datasets.generate("d", [source.id], base_model=BASE_MODEL)
    world.finish(dataset.id)
    return dataset.id


def queue(forge: AIForge, dataset_id: str) -> Job:
    return forge.jobs.fine_tune("p", dataset_id, BASE_MODEL, epochs=1)


def test_every_option_of_a_job_can_be_given_and_planned(forge: AIForge, dataset_id: str) -> None:
    config = JobConfig(min_workers=1, schedule="linear", early_stopping=2, zero_stage=0)
    options = config.model_dump(exclude_none=True, by_alias=False)
    plan = forge.jobs.plan("p", dataset_id, BASE_MODEL, **options)
    assert (plan.zero_stage, plan.fits) == (0, None)
    assert forge.jobs.list().total == 0
    assert forge.jobs.fine_tune("p", dataset_id, BASE_MODEL, **options).config == config
    with pytest.raises(TypeError, match="no option 'epochz'"):
        forge.jobs.plan("p", dataset_id, BASE_MODEL, epochz=1)  # type: ignore[call-arg]


def test_whole_road(forge: AIForge, world: World, repository: Path) -> None:
    with world.working():
        source = forge.sources.create_git(str(repository), include=["*.py"]).wait(timeout=20)
        dataset = forge.datasets.generate(
            "d", [source.id], base_model=BASE_MODEL, raft={"chunk_tokens": 64}
        ).wait(timeout=20)
        job = forge.jobs.fine_tune("p", dataset.id, BASE_MODEL, epochs=2, num_workers=2)
        events = list(job.follow())
        job.wait(timeout=20)

    assert source.status == "synced"
    assert source.include_patterns == ["*.py"]
    assert dataset.example_count == 10
    assert (job.status, job.config.epochs, job.config.num_workers) == ("completed", 2, 2)
    assert job.metrics_history().losses == [3.0, 1.5, 1.0]
    assert "[INFO] Step 3/3" in job.logs(tail=5).logs
    assert [e.data["step"] for e in events if e.type == "job.metrics"] == [1, 2, 3]
    assert events[-1].data["status"] == "completed"
    assert [found.id for found in forge.jobs.list(status="completed")] == [job.id]
    assert forge.jobs.list().total == 1
    assert job.project_name in job._repr_html_()


def test_whole_road_asynchronously(server: str, world: World, repository: Path) -> None:
    async def walk() -> list[str]:
        async with AsyncAIForge(server) as forge:
            source = await (await forge.sources.create_git(str(repository))).wait(timeout=20)
            created = await forge.datasets.generate("d", [source.id], base_model=BASE_MODEL)
            dataset = await created.wait(timeout=20)
            job = await forge.jobs.fine_tune("p", dataset.id, BASE_MODEL)
            seen = [event.type async for event in job.follow()]
            await job.refresh()
            assert job.status == "completed"
            assert (await job.logs()).logs
            assert (await forge.system.health()).status == "healthy"
            return seen

    with world.working():
        seen = asyncio.run(walk())

    assert seen[-1] == "job.updated"
    assert seen.count("job.metrics") == 3


def test_upload_packs_directories_and_tells_progress(
    forge: AIForge, world: World, tmp_path: Path
) -> None:
    directory = tmp_path / "mine"
    (directory / "pkg").mkdir(parents=True)
    (directory / "pkg" / "a.py").write_text("a = 1\n" * 50_000)
    (directory / ".git").mkdir()
    (directory / ".git" / "config").write_text("secret")
    (directory / "link").symlink_to("/etc/passwd")
    (tmp_path / "b.md").write_text("# B\n")
    told: list[tuple[int, int]] = []

    source = forge.sources.upload(
        [directory, tmp_path / "b.md"],
        exclude=["x/", "y?z/"],
        progress=lambda sent, total: told.append((sent, total)),
    )

    paths = [entry.path for entry in Received(world.services.storage, source.id).entries]
    assert sorted(paths) == ["b.md", "mine/pkg/a.py"]
    assert source.name == "mine and 1 more"
    assert source.exclude_patterns == ["x/", "y?z/"]
    assert told[-1][0] == told[-1][1]
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)


def test_upload_of_nothing_is_refused_before_anything_is_sent(
    forge: AIForge, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="no file or directory"):
        forge.sources.upload([tmp_path / "none"])
    with pytest.raises(InvalidInput, match="Nothing to upload"):
        forge.sources.upload([])
    (tmp_path / "a.py").write_text("a = 1\n")
    with pytest.raises(InvalidInput, match="comma"):
        forge.sources.upload([tmp_path / "a.py"], exclude=["y,z/"])
    assert forge.sources.list().total == 0


def test_errors_of_the_server_are_raised_as_their_class(forge: AIForge, dataset_id: str) -> None:
    with pytest.raises(NotFound) as missing:
        forge.jobs.get("job-none")
    with pytest.raises(NotFound):
        forge.jobs.get("../datasets")
    with pytest.raises(InvalidInput, match="epochs: Must be between 1 and 10") as out:
        forge.jobs.fine_tune("p", dataset_id, BASE_MODEL, epochs=99)
    with pytest.raises(SchemaViolation):
        forge.jobs.fine_tune("p", dataset_id, BASE_MODEL, epochs="many")  # type: ignore[arg-type]
    with pytest.raises(Conflict) as taken:
        forge.sources.create_git(str(forge.sources.list()[0].url)).sync()

    assert missing.value.code == "job_not_found"
    assert missing.value.detail["requestId"].startswith("req-")
    assert out.value.detail["field"] == "epochs"
    assert taken.value.code == "source_is_syncing"


def test_waiting_for_a_job_that_fails_raises_what_it_failed_of(
    forge: AIForge, world: World, dataset_id: str
) -> None:
    job = queue(forge, dataset_id)
    world.fail(world.start(job.id), "The loss is not finite.", "loss_not_finite")

    with pytest.raises(Failure, match="not finite") as failed:
        job.wait()

    assert failed.value.code == "loss_not_finite"
    assert job.wait(check=False).error == "The loss is not finite."


def test_waiting_for_a_cancelled_job_raises_cancelled(forge: AIForge, dataset_id: str) -> None:
    job = queue(forge, dataset_id).cancel()

    assert job.status == "cancelled"
    with pytest.raises(Cancelled):
        job.wait()


def test_waiting_ends_after_its_timeout(forge: AIForge, dataset_id: str) -> None:
    job = queue(forge, dataset_id)

    with pytest.raises(TimeoutError, match=job.id):
        job.wait(timeout=0.2)


def test_failed_source_raises_too(forge: AIForge, world: World, repository: Path) -> None:
    source = forge.sources.create_git(str(repository))
    world.fail(world.start(source.id), "No such branch.", "branch_not_found")

    with pytest.raises(Failure, match="No such branch"):
        source.wait()


def test_pages_and_deletion(forge: AIForge, world: World, repository: Path) -> None:
    ids = [forge.sources.create_git(str(repository)).id for _ in range(3)]
    for source_id in ids:
        world.finish(source_id)

    page = forge.sources.list(limit=1, offset=1)
    page[0].delete()

    assert [source.id for source in page] == [ids[1]]
    assert page.total == 3
    assert forge.sources.list().total == 2


def test_events_of_the_platform_follow_a_number(
    forge: AIForge, world: World, repository: Path
) -> None:
    source = forge.sources.create_git(str(repository))
    world.finish(source.id)

    stream = forge.system.events(after=0)
    first = [next(iter(stream)) for _ in range(2)]

    assert [event.sequence for event in first] == [1, 2]
