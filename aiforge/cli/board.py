"""What goes on at a platform, kept up to date by its events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from aiforge.errors import AIForgeError, NotFound
from aiforge.schemas.missions import MissionStatus

if TYPE_CHECKING:
    from aiforge.client import AsyncAIForge, AsyncJob
    from aiforge.schemas.missions import Mission
    from aiforge.schemas.runs import Event

FOLLOWED = 32
"""Most jobs whose progress is followed; each takes a connection."""

REMEMBERED = 6
News: TypeAlias = "asyncio.Queue[Event | AIForgeError | None]"
"""What happened, or why nothing more can be known. ``None`` says that the stream is open (again):
what happened before has to be read."""

_LIVE = ("queued", "running", "cancelling")
_QUIET = ("job.log", "job.metrics", "job.updated")


@dataclass
class Work:
    """A run that is no training job."""

    kind: str
    resource_id: str
    status: str
    progress: float | None = None


@dataclass
class Board:
    """Jobs and other runs that are under way, missions that wait, and what happened last."""

    jobs: dict[str, AsyncJob] = field(default_factory=dict)
    runs: dict[tuple[str, str], Work] = field(default_factory=dict)
    """By kind and resource, since one resource may be validated and exported at a time."""

    missions: list[Mission] = field(default_factory=list)
    pending: int = 0
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    async def load(self, forge: AsyncAIForge) -> None:
        """Read everything anew."""
        self.jobs.clear()
        self.runs.clear()
        for status in _LIVE:
            for job in await forge.jobs.list(status=status, limit=500):
                self.jobs[job.id] = job
        for source in await forge.sources.list(limit=500):
            if source.status == "syncing":
                self._add(Work("sync", source.id, "running", source.progress))
        for dataset in await forge.datasets.list(limit=500):
            if dataset.status == "generating":
                self._add(Work("generate", dataset.id, "running", dataset.progress))
        for model in await forge.models.list(status="deploying", limit=500):
            self._add(Work("deploy", model.id, "running"))
        await self._load_missions(forge)

    async def take(self, forge: AsyncAIForge, event: Event) -> None:
        """Bring up to date what an event is about."""
        noun, _, happened = event.type.partition(".")
        if event.type not in _QUIET:
            self.events.append(event)
        if event.type == "job.updated":
            self._update(event)
        elif noun == "job" and event.data.get("kind") == "train":
            await self._load_job(forge, event.resource_id)
        elif noun == "run" and "kind" in event.data:
            self._track(event, happened)
        elif noun == "mission":
            await self._load_missions(forge)

    def _update(self, event: Event) -> None:
        job = self.jobs.get(event.resource_id)
        if job is None:
            return
        if event.data.get("status") in _LIVE:
            job._adopt(type(job).model_validate(event.data))
        else:
            del self.jobs[event.resource_id]

    def _track(self, event: Event, status: str) -> None:
        kind, resource = str(event.data["kind"]), str(event.data.get("resourceId", ""))
        if status in _LIVE:
            self._add(Work(kind, resource, status))
        else:
            self.runs.pop((kind, resource), None)

    def _add(self, work: Work) -> None:
        self.runs[work.kind, work.resource_id] = work

    async def _load_job(self, forge: AsyncAIForge, job_id: str) -> None:
        self.jobs.pop(job_id, None)
        with suppress(NotFound):
            job = await forge.jobs.get(job_id)
            if job.status in _LIVE:
                self.jobs[job_id] = job

    async def _load_missions(self, forge: AsyncAIForge) -> None:
        page = await forge.missions.list(status=MissionStatus.PENDING_APPROVAL, limit=50)
        self.missions, self.pending = page.missions, page.pending


async def watch(forge: AsyncAIForge, show: Callable[[Board], None]) -> None:
    """Show the board at first and after every event, until cancelled.

    Raises:
        AIForgeError: The events can no longer be had.
    """
    news: News = asyncio.Queue()
    board = Board()
    followers: dict[str, asyncio.Task[None]] = {}
    stream = asyncio.create_task(_pass_on(forge.system.events(opened=_opened(news)), news))
    try:
        while True:
            item = await news.get()
            if isinstance(item, AIForgeError):
                raise item
            if item is None:
                await board.load(forge)
            else:
                await board.take(forge, item)
            _follow(forge, board, followers, news)
            if news.empty():
                show(board)
    finally:
        tasks = [stream, *followers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _opened(news: News) -> Callable[[], None]:
    return lambda: news.put_nowait(None)


def _follow(
    forge: AsyncAIForge,
    board: Board,
    followers: dict[str, asyncio.Task[None]],
    news: News,
) -> None:
    """Follow the progress of every running job; a stream ends by itself with its job."""
    for job_id in [job_id for job_id, task in followers.items() if task.done()]:
        del followers[job_id]
    for job in board.jobs.values():
        if job.status != "queued" and job.id not in followers and len(followers) < FOLLOWED:
            followers[job.id] = asyncio.create_task(_pass_on(forge.jobs.follow(job.id), news, job))


async def _pass_on(events: Any, news: News, job: AsyncJob | None = None) -> None:
    try:
        async for event in events:
            if job is None or event.type == "job.updated":
                news.put_nowait(event)
    except AIForgeError as error:
        # A job that cannot be followed is shown as its last event left it.
        if job is None:
            news.put_nowait(error)
