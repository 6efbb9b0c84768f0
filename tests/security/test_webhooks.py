"""Webhooks: nothing is lost or invented, every delivery verifies, and nobody waits for another."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiver import Receiver
from served import World, serve
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from aiforge import addresses
from aiforge.errors import InvalidInput
from aiforge.schemas.webhooks import Attempt, DeliveryStatus, Outgoing
from aiforge.services import sender as senders
from aiforge.services import webhooks
from aiforge.services.sender import SCHEDULE, Sender
from aiforge.state import deliveries, events
from aiforge.state.ops import write
from aiforge.state.schema import now


@write
def happen(connection: Connection, type: str, resource_id: str, number: int = 1) -> None:
    """Something happens some times."""
    for index in range(number):
        events.append(connection, type, resource_id, index=index)


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    found = Receiver()
    for url in serve(found):
        yield found, url


class Post:
    """Subscriptions and what a sender does for them, without a cluster."""

    def __init__(self, api: httpx.Client, world: World) -> None:
        self.api = api
        self.state = world.services.state
        self.trusted = ["127.0.0.1", "localhost", "inside.example"]
        world.services.settings.webhook_trusted_hosts = self.trusted

    def subscribe(self, url: str, *patterns: str, receiver: Receiver | None = None) -> str:
        answer = self.api.post("/webhooks", json={"url": url, "events": list(patterns) or ["*"]})
        assert answer.status_code == 201, answer.text
        if receiver is not None:
            receiver.secrets.append(answer.json()["secret"])
        hook: str = answer.json()["id"]
        return hook

    def happen(self, type: str, resource_id: str = "job-1", number: int = 1) -> None:
        self.state.call_sync(happen, type, resource_id, number)

    def send(self, trusted: list[str] | None = None) -> None:
        """Have a fresh sender send what is due, as after a restart."""

        async def once() -> None:
            sender = Sender(self.state, self.trusted if trusted is None else trusted)
            while await self.state.call(deliveries.agenda, []):
                await sender.tick(timeout=0)
                await sender.settle()

        asyncio.run(once())

    def deliveries(self, hook: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get(
            f"/webhooks/{hook}/deliveries", params=query
        ).json()
        return found

    def make_due(self) -> None:
        """Let the time of the next attempts come."""
        self.state.call_sync(hurry)


@write
def hurry(connection: Connection) -> None:
    table = deliveries.deliveries
    pending = table.c.status == DeliveryStatus.PENDING
    connection.execute(table.update().where(pending).values(next_attempt_at=now()))


@pytest.fixture
def post(api: httpx.Client, world: World, monkeypatch: pytest.MonkeyPatch) -> Post:
    monkeypatch.setattr(senders, "_PAUSES", (0.0,))
    return Post(api, world)


def test_a_receiver_verifies_each_event_that_it_asked_for(
    post: Post, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver
    post.happen("job.running")
    hook = post.subscribe(f"{url}/hooks?team=a", "job.*", "model.active", receiver=found)
    post.happen("job.running")
    post.happen("job.completed")
    post.happen("run.queued")
    post.happen("model.active", "model-7")

    post.send()
    post.send()

    assert found.refused == []
    resources = {message["type"]: message["data"]["resourceId"] for message in found.seen}
    assert resources == {
        "job.running": "job-1",
        "job.completed": "job-1",
        "model.active": "model-7",
    }
    assert max(found.ids.values()) == 1
    listed = post.deliveries(hook)
    assert {delivery["status"] for delivery in listed} == {"delivered"}
    assert listed[0]["attempts"][0]["status"] == 204
    assert {delivery["id"] for delivery in listed} == found.ids.keys()


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        Response(status_code=404),
        RedirectResponse("http://127.0.0.1:9/elsewhere"),
    ],
    ids=["500", "404", "307"],
)
def test_what_is_not_taken_is_sent_again_on_schedule_under_the_same_id(
    post: Post, receiver: tuple[Receiver, str], answer: Response
) -> None:
    found, url = receiver
    found.answer = lambda number: answer if number < 3 else Response(status_code=200)
    hook = post.subscribe(url, receiver=found)
    post.happen("job.failed")
    for wait in SCHEDULE[:2]:
        begun = now()
        post.send()
        post.send()
        (delivery,) = post.deliveries(hook)
        due = httpx_time(delivery["nextAttemptAt"])
        assert wait <= due - begun <= wait * (1 + senders.JITTER) + timedelta(seconds=30)
        post.make_due()

    post.send()

    (delivery,) = post.deliveries(hook)
    assert delivery["status"] == "delivered"
    assert len(delivery["attempts"]) == 3
    assert found.ids == {delivery["id"]: 3}


def httpx_time(text: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text)


def test_after_the_last_attempt_it_has_failed_and_can_be_replayed(
    post: Post, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver
    found.answer = lambda number: Response(status_code=503)
    hook = post.subscribe(url, receiver=found)
    post.happen("job.failed")
    for _ in range(len(SCHEDULE) + 1):
        post.send()
        post.make_due()
    post.send()
    (failed,) = post.deliveries(hook, status="failed")
    assert len(failed["attempts"]) == len(SCHEDULE) + 1 == 10
    assert failed["nextAttemptAt"] is None

    found.answer = lambda number: Response(status_code=200)
    replayed = post.api.post(f"/webhooks/{hook}/deliveries/{failed['id']}/replay")
    post.send()

    assert replayed.json()["status"] == "pending"
    (delivered,) = post.deliveries(hook, status="delivered")
    assert delivered["id"] == failed["id"]
    assert len(found.ids) == 1


def test_a_ping_tells_whether_the_receiver_works(
    post: Post, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver
    hook = post.subscribe(url, "job.*", receiver=found)

    sent = post.api.post(f"/webhooks/{hook}/test").json()
    post.send()

    assert [(message["type"], message["id"]) for message in found.seen] == [
        ("webhook.ping", sent["id"])
    ]


def test_while_a_secret_is_rotated_both_verify(
    post: Post, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, url = receiver
    hook = post.subscribe(url, receiver=found)
    (old,) = found.secrets
    new = post.api.post(f"/webhooks/{hook}/rotate").json()["secret"]

    for secrets in ([old], [new]):
        found.secrets = secrets
        post.happen("job.running")
        post.send()
    assert found.refused == []

    later = now() + webhooks.ROTATION
    monkeypatch.setattr("aiforge.state.webhooks.now", lambda: later)
    found.secrets = [old]
    post.happen("job.running")
    post.send()
    assert found.refused == ["No matching signature found"]


def test_a_receiver_that_is_gone_is_left_alone_until_it_is_enabled(
    post: Post, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver
    found.answer = lambda number: Response(status_code=410)
    hook = post.subscribe(url, "job.*", receiver=found)
    post.happen("job.running")
    post.send()
    assert post.api.get(f"/webhooks/{hook}").json()["status"] == "disabled"
    post.happen("job.completed")
    post.make_due()
    post.send()
    assert len(found.seen) == 1

    found.answer = lambda number: Response(status_code=200)
    assert post.api.post(f"/webhooks/{hook}/enable").json()["status"] == "active"
    post.send()

    # Nothing that happened meanwhile is lost.
    assert {message["type"] for message in found.seen[1:]} == {"job.running", "job.completed"}


def test_a_receiver_may_ask_to_be_left_alone_longer(
    post: Post, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver
    found.answer = lambda number: Response(status_code=429, headers={"Retry-After": "3600"})
    hook = post.subscribe(url, receiver=found)
    post.happen("job.running")
    begun = now()
    post.send()

    (delivery,) = post.deliveries(hook)
    assert httpx_time(delivery["nextAttemptAt"]) - begun >= timedelta(hours=1)


def test_a_dead_and_a_slow_receiver_delay_nobody_else(
    post: Post, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver
    hung = threading.Event()
    silent = socket.create_server(("127.0.0.1", 0))
    post.subscribe(f"http://127.0.0.1:{silent.getsockname()[1]}/")
    post.subscribe("http://127.0.0.1:9/")
    post.subscribe(url, receiver=found)
    post.happen("job.running", number=20)

    async def until_delivered() -> None:
        sender = Sender(post.state, post.trusted)
        running = asyncio.create_task(sender.run())
        while len(found.ids) < 20:
            await asyncio.sleep(0.01)
        # The silent one still holds its connection open.
        hung.set()
        running.cancel()
        for lane in sender._lanes.values():
            lane.cancel()

    asyncio.run(asyncio.wait_for(until_delivered(), senders.ATTEMPT_SECONDS - 1))
    silent.close()

    assert hung.is_set()
    assert set(found.ids.values()) == {1}


def test_an_endless_answer_is_not_read(post: Post, receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    found.answer = lambda number: Response(b"x" * (4 << 20))
    hook = post.subscribe(url, receiver=found)
    post.happen("job.running")

    post.send()

    assert post.deliveries(hook)[0]["status"] == "delivered"


PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("0.0.0.0", "::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
    *("2002:7f00:1::", "224.0.0.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_refused_at_every_attempt(
    post: Post, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    found, url = receiver
    port = int(url.rpartition(":")[2])
    hook = post.subscribe(f"https://rebound.example:{port}/")
    answers = iter([["93.184.216.34", address], [address]])

    def rebind(host: str, port: int, **rest: Any) -> list[Any]:
        assert host == "rebound.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(answers)]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", rebind)
    post.happen("job.running")
    for _ in range(2):
        post.send()
        post.make_due()

    (delivery,) = post.deliveries(hook)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [None, None]
    assert all("not public" in attempt["error"] for attempt in delivery["attempts"])
    assert found.seen == []


def test_the_connection_goes_to_the_address_that_was_checked(
    post: Post, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, url = receiver
    port = int(url.rpartition(":")[2])
    post.subscribe(f"http://inside.example:{port}/", receiver=found)
    looked_up: list[str] = []

    def look_up(host: str, port: int, **rest: Any) -> list[Any]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    post.happen("job.running")
    post.send()

    # One look-up for one attempt: whoever connects does not ask again.
    assert looked_up == ["inside.example"]
    assert len(found.seen) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "https://", "https:///x", "/x", "x", " "),
        *("https://10.0.0.1/", "https://[::1]/", "https://user:hunter2@example.org/"),
        *("https://example.org/#part", "https://example.org/\nx", "https://exa mple.org/"),
        *("https://example.org:99999/", "javascript:alert(1)", "file:///etc/passwd"),
        *(
            "https://[::1",
            "https://user@example.org/",
            "gopher://example.org/",
            "https://é.example/",
        ),
    ],
)
def test_what_events_may_not_be_sent_to_is_refused_at_once(post: Post, url: str) -> None:
    answer = post.api.post("/webhooks", json={"url": url, "events": ["*"]})

    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]["field"] == "url"
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("pattern", ["", "job", "job.", "*.done", "job.*.x", "JOB.*", "job.**"])
def test_patterns_that_match_nothing_are_refused(post: Post, pattern: str) -> None:
    body = {"url": "https://example.org/", "events": [pattern]}

    assert post.api.post("/webhooks", json=body).status_code == 400


@given(
    family=st.sampled_from(["job", "jobs", "model", "run"]),
    word=st.sampled_from(["queued", "running", "running_late"]),
)
def test_patterns_match_as_they_read(family: str, word: str) -> None:
    type = f"{family}.{word}"

    assert deliveries.matches(["*"], type)
    assert deliveries.matches([type], type)
    assert deliveries.matches([f"{family}.*"], type)
    assert not deliveries.matches(["job.*"], type) or family == "job"
    assert not deliveries.matches(["run.running"], type) or type == "run.running"


def test_a_crash_between_sending_and_writing_repeats_and_never_loses(
    post: Post, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, url = receiver
    hook = post.subscribe(url, receiver=found)
    post.happen("job.running", number=3 * senders.BATCH)
    recorded = 0
    original: Callable[..., Any] = Sender._drain

    class Killed(BaseException):
        """The process ends here."""

    async def die(self: Sender, client: Any, webhook_id: str) -> None:
        call = self._state.call

        async def call_or_die(op: Any, *args: Any) -> Any:
            nonlocal recorded
            if op is deliveries.record:
                recorded += 1
                if recorded % 2:
                    raise Killed
            return await call(op, *args)

        with monkeypatch.context() as patch:
            patch.setattr(self._state, "call", call_or_die)
            await original(self, client, webhook_id)

    monkeypatch.setattr(Sender, "_drain", die)
    for _ in range(10):
        try:
            post.send()
        except Killed:
            continue

    assert len(found.ids) == 3 * senders.BATCH
    assert max(found.ids.values()) > 1
    assert len(post.deliveries(hook, status="delivered", limit=500)) == 3 * senders.BATCH


def test_a_subscription_is_deleted_with_its_deliveries(post: Post) -> None:
    hook = post.subscribe("http://127.0.0.1:9/")
    post.happen("job.running")
    post.send()

    assert post.api.delete(f"/webhooks/{hook}").status_code == 200

    assert post.api.get(f"/webhooks/{hook}").status_code == 404
    assert post.api.get(f"/webhooks/{hook}/deliveries").status_code == 404
    post.send()


def test_schedule_is_that_of_the_specification() -> None:
    hours = [wait / timedelta(hours=1) for wait in SCHEDULE]
    assert [round(hour, 4) for hour in hours] == [0.0014, 0.0833, 0.5, 2, 5, 10, 14, 20, 24]
    last = Outgoing(
        id="msg-1",
        webhook_id="hook-1",
        event_type="x.y",
        resource_id="job-1",
        at=now(),
        data={},
        tries=len(SCHEDULE),
    )
    ended = senders._result(last, Attempt(at=now(), error="x", milliseconds=1.0), timedelta())
    assert ended.status is DeliveryStatus.FAILED


def test_a_url_is_checked_by_the_service_too() -> None:
    with pytest.raises(InvalidInput):
        webhooks.check_url("http://example.org", [])
    webhooks.check_url("http://box.local/hook", ["box.local"])
