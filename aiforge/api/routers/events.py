"""Server-sent events: everything that happens, and what happens to one job."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from aiforge.api import examples, sse
from aiforge.api.dependencies import Ctx, JobId
from aiforge.api.responses import Responses, answers
from aiforge.services import jobs, streams

router = APIRouter(tags=["Events"])

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=100,
        description="Id of the last event that was received; the stream goes on after it.",
    ),
]
After = Annotated[
    int | None,
    Query(ge=0, le=2**62, description="Sequence number to start after; from now on if absent."),
]


_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event of the stream; `data` is JSON.",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "What `Last-Event-ID` takes the stream up after."},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": ["integer", "string"], "description": "Milliseconds."},
    },
}


def _stream(*errors: int) -> Responses:
    declared = answers(None, 400, *errors)
    content: dict[str, Any] = {"schema": _EVENT, "example": examples.EVENT_STREAM}
    declared[200] = {"description": "A stream of events.", "content": {sse.MEDIA_TYPE: content}}
    return declared


@router.get("/events", response_class=StreamingResponse, responses=_stream(422))
async def stream_events(
    ctx: Ctx, after: After = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Stream all events of the platform as they happen; a comment is sent as heartbeat."""
    start = await streams.start_of_events(ctx, last_event_id, after)
    return sse.respond(streams.events(ctx, start))


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse, responses=_stream(404))
async def stream_job_events(
    ctx: Ctx, job_id: JobId, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Stream a job's changes of state, metrics and log from its beginning until it has ended.

    `job.updated` carries the whole job; it comes first, after every change, and last.
    """
    cursor = streams.Cursor.parse(last_event_id)
    await jobs.get(ctx, job_id)
    return sse.respond(streams.job_events(ctx, job_id, cursor))
