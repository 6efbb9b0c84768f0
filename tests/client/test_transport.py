"""What the client does when the network or the server misbehaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.client import AIForge, AsyncAIForge, RetryPolicy, ServerUnreachable
from aiforge.client._sse import Message, Parser
from aiforge.errors import InternalError, InvalidInput, RateLimited, Unavailable
from aiforge.schemas.common import utc_now
from aiforge.schemas.jobs import Job, JobConfig, JobMetrics

QUICK = RetryPolicy(attempts=3, backoff=0.0, longest=1.0)
JOB = Job(
    id="job-1",
    project_name="p",
    status="running",
    base_model="m",
    method="pissa",
    progress=10,
    metrics=JobMetrics(),
    config=JobConfig(),
    created_at=utc_now(),
    dataset_id="ds-1",
    dataset_name="d",
)

Answer = httpx.Response | Exception
Handler = Callable[[httpx.Request], httpx.Response]


def scripted(*answers: Answer) -> tuple[Handler, list[httpx.Request]]:
    """A server that gives these answers in turn, and what it was asked."""
    asked: list[httpx.Request] = []
    left = iter(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        request.read()
        asked.append(request)
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer.stream, httpx.ByteStream):
            # A fresh one, since a client binds the response that it gets to itself.
            return httpx.Response(
                answer.status_code, content=answer.content, headers=answer.headers
            )
        return answer

    return handle, asked


def client(handle: Handler) -> AIForge:
    return AIForge("http://forge.test", transport=httpx.MockTransport(handle), retry=QUICK)


def ok(body: Any, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=body, headers=headers)


JOBS = ok([])
CREATED = httpx.Response(201, json={"jobId": "job-1", "status": "queued", "message": "m"})
FOUND = ok(JOB.model_dump(mode="json"))


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("gone"),
        httpx.Response(502, text="<html>"),
        httpx.Response(503, json={"status": 503, "message": "m", "detail": {"code": "c"}}),
        httpx.Response(504),
        httpx.Response(429, headers={"Retry-After": "0"}),
    ],
)
def test_passing_trouble_is_tried_again(trouble: Answer) -> None:
    handle, asked = scripted(trouble, trouble, JOBS)

    assert client(handle).jobs.list() == []
    assert len(asked) == 3


def test_repeated_post_has_the_same_key() -> None:
    handle, asked = scripted(httpx.ReadError("lost"), httpx.Response(503), CREATED, FOUND)

    job = client(handle).jobs.fine_tune("p", "ds-1", "m", epochs=3)

    assert job.id == "job-1"
    keys = [request.headers.get("idempotency-key") for request in asked]
    assert keys[0] == keys[1] == keys[2] != ""
    assert keys[3] is None
    assert json.loads(asked[2].content) == {
        "projectName": "p",
        "datasetId": "ds-1",
        "baseModel": "m",
        "epochs": 3,
    }


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_answers_that_would_not_change_are_not_asked_for_again(status: int) -> None:
    handle, asked = scripted(httpx.Response(status, json={"message": "No.", "detail": {}}))

    with pytest.raises(Exception, match=r"No\."):
        client(handle).jobs.list()
    assert len(asked) == 1


def test_lasting_trouble_is_told_with_the_remedy() -> None:
    handle, asked = scripted(*[httpx.ConnectError("refused")] * 3)

    with pytest.raises(ServerUnreachable, match="aiforge up") as error:
        client(handle).jobs.list()

    assert "http://forge.test" in error.value.message
    assert len(asked) == 3


def test_long_retry_after_is_not_waited_for() -> None:
    handle, asked = scripted(httpx.Response(429, headers={"Retry-After": "60"}))

    with pytest.raises(RateLimited) as error:
        client(handle).jobs.list()

    assert error.value.detail["retryAfter"] == 60
    assert len(asked) == 1


def test_answer_of_another_server_is_no_answer() -> None:
    handle, _ = scripted(httpx.Response(200, text="<html>hello</html>"))

    with pytest.raises(InternalError, match="check the address"):
        client(handle).jobs.list()


def test_unhealthy_platform_is_an_answer_and_not_retried() -> None:
    body = {
        "status": "unhealthy",
        "timestamp": "2026-01-01T00:00:00Z",
        "checks": {"database": False, "ollama": False, "gpu": False},
    }
    handle, asked = scripted(httpx.Response(503, json=body))

    assert client(handle).system.health().status == "unhealthy"
    assert len(asked) == 1


def test_proxy_without_backend_is_no_health() -> None:
    handle, _ = scripted(httpx.Response(503, text="no backend"))

    with pytest.raises(Unavailable):
        client(handle).system.health()


@pytest.mark.parametrize("url", ["forge.test", "ftp://forge.test", "http://", "::"])
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        AIForge(url)


def test_key_is_sent_as_bearer_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFORGE_API_KEY", "secret")
    handle, asked = scripted(JOBS)

    client(handle).jobs.list()

    assert asked[0].headers["authorization"] == "Bearer secret"


class Broken(httpx.SyncByteStream):
    """A stream that breaks off."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx.ReadError("lost")


def frame(identifier: str, type: str, data: dict[str, Any]) -> bytes:
    event = {"sequence": 1, "at": "2026-01-01T00:00:00Z", "type": type, "resourceId": "job-1"}
    return (
        f"id: {identifier}\nevent: {type}\ndata: {json.dumps(event | {'data': data})}\n\n".encode()
    )


def stream_of(content: Any) -> httpx.Response:
    kind = {"Content-Type": "text/event-stream"}
    if isinstance(content, bytes):
        return httpx.Response(200, content=content, headers=kind)
    return httpx.Response(200, stream=content, headers=kind)


DONE = JOB.model_dump(mode="json") | {"status": "completed"}


def test_broken_stream_is_taken_up_after_the_last_id() -> None:
    handle, asked = scripted(
        stream_of(Broken(frame("0_1_1", "job.log", {}), b"id: 0_2_2\nda")),
        httpx.ConnectError("restarting"),
        stream_of(frame("0_2_2", "job.log", {}) + frame("1_2_2", "job.updated", DONE)),
    )

    seen = [event.type for event in client(handle).jobs.follow("job-1")]

    assert seen == ["job.log", "job.log", "job.updated"]
    sent = [request.headers.get("last-event-id") for request in asked]
    assert sent == [None, "0_1_1", "0_1_1"]


def test_following_without_a_stream_asks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    handle, asked = scripted(ok({}), FOUND, FOUND, ok(DONE))

    events = list(client(handle).jobs.follow("job-1"))

    assert [event.data["status"] for event in events] == ["running", "completed"]
    assert len(asked) == 4


def test_iteration_that_is_left_closes_the_connection() -> None:
    closed = False

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield frame("1", "job.log", {})

        def close(self) -> None:
            nonlocal closed
            closed = True

    handle, _ = scripted(stream_of(Endless()))

    events = client(handle).jobs.follow("job-1")
    next(events)
    events.close()  # type: ignore[attr-defined]

    assert closed


def test_asynchronous_client_retries_as_well() -> None:
    handle, asked = scripted(httpx.ConnectError("refused"), httpx.Response(503), JOBS)

    async def run() -> list[Any]:
        transport = httpx.MockTransport(handle)
        async with AsyncAIForge("http://forge.test", transport=transport, retry=QUICK) as forge:
            return await forge.jobs.list()

    assert asyncio.run(run()) == []
    assert len(asked) == 3


LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)


@given(
    messages=st.lists(
        st.tuples(LINES.filter(bool), st.lists(LINES, min_size=1), LINES), max_size=5
    ),
    cut=st.integers(1, 50),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_parser_understands_events_however_they_are_cut(
    messages: list[tuple[str, list[str], str]], cut: int, newline: str
) -> None:
    wire = ": heartbeat\n\n"
    for event, lines, identifier in messages:
        wire += f"event: {event}\n" + "".join(f"data: {line}\n" for line in lines)
        wire += f"id: {identifier}\n\n"
    content = wire.replace("\n", newline).encode()
    parser = Parser()

    found = [
        message
        for start in range(0, len(content), cut)
        for message in parser.feed(content[start : start + cut])
    ]

    assert found == [
        Message(event, "\n".join(lines), identifier) for event, lines, identifier in messages
    ]
