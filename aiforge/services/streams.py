"""Event streams: what happened after a place that a client remembers, and what happens next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiforge.errors import InvalidInput
from aiforge.schemas.common import utc_now
from aiforge.schemas.jobs import Job
from aiforge.schemas.runs import Event
from aiforge.services.context import Services
from aiforge.state import events as event_log
from aiforge.state import lifecycles, updates
from aiforge.state.updates import JobUpdates

HEARTBEAT_SECONDS = 15.0
GATHER_SECONDS = 0.2
"""How long a stream lets news of a job add up before it looks again."""


@dataclass(frozen=True)
class Item:
    """One event of a stream; after ``id`` the stream can be taken up again."""

    event: Event
    id: str | None


@dataclass(frozen=True)
class Cursor:
    """How far a client has followed a job: its events, its log and its metrics."""

    event: int = 0
    line: int = 0
    step: int = -1

    @classmethod
    def parse(cls, text: str | None) -> Cursor:
        """The cursor in a ``Last-Event-ID``; the beginning where there is none.

        Raises:
            InvalidInput: It is not an id that a job's stream gives out.
        """
        if not text:
            return cls()
        try:
            event, line, step = (_bounded(part) for part in text.split("_"))
        except ValueError as error:
            raise _bad_id(text) from error
        return cls(event, line, step - 1)

    def __str__(self) -> str:
        return f"{self.event}_{self.line}_{self.step + 1}"


async def start_of_events(services: Services, last_id: str | None, after: int | None) -> int:
    """The sequence number that a stream of all events starts after; the newest by default.

    Raises:
        InvalidInput: ``last_id`` is not an id that the stream gives out.
    """
    if last_id:
        try:
            return _bounded(last_id)
        except ValueError as error:
            raise _bad_id(last_id) from error
    return await services.state.call(event_log.latest) if after is None else after


async def events(services: Services, after: int) -> AsyncIterator[Item | None]:
    """All events that follow a sequence number, for ever; ``None`` when nothing happens."""
    while True:
        batch = await services.state.wait_events(after, HEARTBEAT_SECONDS)
        if not batch:
            yield None
        for event in batch:
            yield Item(event, str(event.sequence))
            after = event.sequence


async def job_events(services: Services, job_id: str, cursor: Cursor) -> AsyncIterator[Item | None]:
    """What happens to a job until it has ended; ``None`` when nothing happens.

    ``job.updated`` (the job as it is) comes first, whenever it changed, and last.
    """
    seen = ""
    while True:
        found = await services.state.wait(
            HEARTBEAT_SECONDS,
            job_id,
            updates.of_job,
            job_id,
            cursor.event,
            cursor.line,
            cursor.step,
            seen,
        )
        if found is None:
            yield None
            continue
        for item in _items(found, cursor):
            cursor = Cursor.parse(item.id) if item.id else cursor
            yield item
        if found.fingerprint != seen:
            seen = found.fingerprint
            yield Item(_updated(found.job), None)
        if found.job.status in lifecycles.RUN.terminal and found.complete:
            return
        await asyncio.sleep(GATHER_SECONDS)


def _items(found: JobUpdates, cursor: Cursor) -> list[Item]:
    job_id, event, line, step = found.job.id, cursor.event, cursor.line, cursor.step
    items = []
    for log in found.lines:
        line = log.sequence
        data = log.model_dump(mode="json")
        said = Event(sequence=line, at=log.at, type="job.log", resource_id=job_id, data=data)
        items.append(Item(said, str(Cursor(event, line, step))))
    for point in found.points:
        step = point["step"]
        measured = Event(
            sequence=step, at=utc_now(), type="job.metrics", resource_id=job_id, data=point
        )
        items.append(Item(measured, str(Cursor(event, line, step))))
    for change in found.events:
        event = change.sequence
        items.append(Item(change, str(Cursor(event, line, step))))
    return items


def _updated(job: Job) -> Event:
    return Event(
        sequence=0,
        at=utc_now(),
        type="job.updated",
        resource_id=job.id,
        data=job.model_dump(mode="json"),
    )


def _bounded(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
    if number < 0:
        raise ValueError(text)
    return number


def _bad_id(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is no id of this stream; leave Last-Event-ID out to start at the beginning.",
        code="bad_event_id",
        field="Last-Event-ID",
        error="Not an id of this stream",
    )
