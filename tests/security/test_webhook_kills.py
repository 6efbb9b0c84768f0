"""Events reach their receiver though the sender is killed again and again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from receiver import Receiver
from served import serve
from sqlalchemy import Connection

from aiforge.schemas.common import new_id
from aiforge.schemas.webhooks import DeliveryStatus, Webhook, WebhookStatus
from aiforge.services.webhooks import new_secret
from aiforge.state import deliveries, events, webhooks
from aiforge.state.ops import write
from aiforge.state.schema import now
from aiforge.state.store import Store

PROGRAM = Path(__file__).with_name("webhook_process.py")


@write
def happen(connection: Connection, first: int, number: int) -> None:
    for index in range(first, first + number):
        events.append(connection, "job.running", "job-1", index=index)


@pytest.mark.parametrize(
    ("number", "kills"),
    [(150, 2), pytest.param(10_000, 40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_no_event_is_lost_or_invented_by_kills(
    tmp_path: Path, empty_database: Path, number: int, kills: int
) -> None:
    database = tmp_path / "aiforge.db"
    shutil.copy(empty_database, database)
    url = f"sqlite:///{database}"
    store = Store(url)
    receiver = Receiver(new_secret())
    for address in serve(receiver):
        subscribe(store, address, receiver.secrets[0])
        killed = disturb(store, url, receiver, number, kills)
        finish(store, url, receiver, number)
        print(
            f"{number} events, {killed} kills: {sum(receiver.ids.values())} deliveries of "
            f"{len(receiver.ids)} messages, {sum(n - 1 for n in receiver.ids.values())} repeated"
        )
    assert killed == kills
    assert receiver.refused == []
    assert {message["data"]["index"] for message in receiver.seen} == set(range(number))
    # Each event has one id, and what is repeated bears it again.
    indexes = {message["id"]: message["data"]["index"] for message in receiver.seen}
    assert len(indexes) == len(set(indexes.values())) == number
    listed = store.run(deliveries.page, ("hook-1", 1, 0, DeliveryStatus.DELIVERED))
    assert listed.total == number
    store.close()


def subscribe(store: Store, address: str, secret: str) -> None:
    hook = Webhook(
        id="hook-1",
        url=address,
        events=["job.*"],
        status=WebhookStatus.ACTIVE,
        created_by="test",
        created_at=now(),
    )
    store.run(webhooks.create, (hook, secret))
    assert new_id("msg").startswith("msg-")


def start(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAM), url], env=dict(os.environ))


def disturb(store: Store, url: str, receiver: Receiver, number: int, kills: int) -> int:
    """Let events happen while senders are started and killed in the middle of their work."""
    happened = 0
    dice = random.Random(number)
    for kill in range(kills):
        batch = number * (kill + 1) // kills - happened
        store.run(happen, (happened, batch))
        happened += batch
        before = sum(receiver.ids.values())
        process = start(url)
        wanted = before + dice.randint(1, max(2, number // (2 * kills)))
        wait_until(lambda wanted=wanted: sum(receiver.ids.values()) >= wanted)
        process.kill()
        process.wait()
    return kills


def finish(store: Store, url: str, receiver: Receiver, number: int) -> None:
    process = start(url)
    wait_until(
        lambda: (
            store.run(deliveries.page, ("hook-1", 1, 0, DeliveryStatus.DELIVERED)).total == number
        )
    )
    process.kill()
    process.wait()


def wait_until(done: object, seconds: float = 600.0) -> None:
    assert callable(done)
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "deliveries do not arrive"
        time.sleep(0.02)
