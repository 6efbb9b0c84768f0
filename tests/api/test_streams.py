"""Server-sent events: order, replay, heartbeat, end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import World, add_dataset, add_source, fine_tune_body

from aiforge.services import streams
from aiforge.services.streams import Cursor


@dataclass(frozen=True)
class Received:
    """One event as it came over the wire."""

    id: str | None
    event: str
    data: dict[str, Any]


def read(answer: httpx.Response) -> Iterator[Received]:
    """The events of a stream; comments are left out."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Received(fields.get("id"), fields["event"], json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}


@pytest.fixture
def repository(make_repository: Callable[[Mapping[str, str]], Path]) -> Path:
    return make_repository({"a.py": "x = 1\n"})


@pytest.fixture
def job_id(live: httpx.Client, world: World, repository: Path) -> str:
    dataset_id = add_dataset(live, world, repository)
    created = live.post("/v1/fine-tune", json=fine_tune_body(dataset_id))
    return str(created.json()["jobId"])


def test_job_stream_tells_everything_in_order_and_ends(
    live: httpx.Client, world: World, job_id: str
) -> None:
    seen: list[Received] = []
    with live.stream("GET", f"/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for event in read(answer):
            seen.append(event)
            if event.event == "job.updated" and event.data["data"]["status"] == "queued":
                run = world.start(job_id)
                world.report(run, 1, 2, log="Half way")
            if event.event == "job.metrics" and event.data["data"]["step"] == 2:
                world.report(run, 3)
                world.complete(run)

    kinds = [event.event for event in seen]
    assert kinds[0] == "job.queued"
    assert kinds[-1] == "job.updated"
    assert seen[-1].data["data"]["status"] == "completed"
    steps = [event.data["data"]["step"] for event in seen if event.event == "job.metrics"]
    assert steps == [1, 2, 3]
    messages = [event.data["data"]["message"] for event in seen if event.event == "job.log"]
    assert "Half way" in messages
    assert [kind for kind in kinds if kind in ("job.queued", "job.running", "job.completed")] == [
        "job.queued",
        "job.running",
        "job.completed",
    ]


def test_job_stream_goes_on_after_the_last_id(
    live: httpx.Client, world: World, job_id: str
) -> None:
    run = world.start(job_id)
    world.report(run, 1, 2, 3, log="All")
    world.complete(run)
    with live.stream("GET", f"/jobs/{job_id}/events") as answer:
        whole = [event for event in read(answer) if event.id]

    for place in range(len(whole)):
        headers = {"Last-Event-ID": str(whole[place].id)}
        with live.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
            rest = [event for event in read(answer) if event.id]
        assert [(event.id, event.data["data"]) for event in rest] == [
            (event.id, event.data["data"]) for event in whole[place + 1 :]
        ]


def test_all_events_are_replayed_after_a_sequence_number(
    live: httpx.Client, world: World, repository: Path
) -> None:
    add_source(live, world, repository)

    with live.stream("GET", "/events?after=0") as answer:
        stream = read(answer)
        first = [next(stream) for _ in range(4)]
    with live.stream("GET", "/events", headers={"Last-Event-ID": str(first[1].id)}) as answer:
        stream = read(answer)
        rest = [next(stream) for _ in range(2)]

    assert [event.id for event in first] == ["1", "2", "3", "4"]
    assert {event.event for event in first} >= {"run.queued", "source.syncing"}
    assert rest == first[2:]


def test_all_events_begin_with_those_to_come(
    live: httpx.Client, world: World, repository: Path
) -> None:
    add_source(live, world, repository)

    with live.stream("GET", "/events") as answer:
        add_source(live, world, repository)
        event = next(read(answer))

    assert event.event == "run.queued"
    assert event.id == "6"


def test_silence_is_filled_with_heartbeats(
    live: httpx.Client, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)

    with live.stream("GET", f"/jobs/{job_id}/events") as answer:
        lines = answer.iter_lines()
        beats = [line for _, line in zip(range(60), lines, strict=False) if "heartbeat" in line]

    assert len(beats) >= 2


@pytest.mark.parametrize("text", ["x", "1", "1_2", "1_2_x", "-1_2_3", f"{10**30}_1_1"])
def test_id_of_another_stream_is_refused(live: httpx.Client, job_id: str, text: str) -> None:
    answer = live.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": text})

    assert answer.status_code == 400
    assert answer.json()["detail"]["code"] == "bad_event_id"


def test_cursor_survives_its_text() -> None:
    cursor = Cursor(event=7, line=3, step=-1)

    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.parse(None) == Cursor()
