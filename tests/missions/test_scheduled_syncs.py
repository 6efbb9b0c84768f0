"""Sources that are synced by themselves, through the API and the overseer's looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from served import World
from test_overseer import look

from aiforge.runtime.drivers import about
from aiforge.schemas.runs import Run
from aiforge.services import overseer
from aiforge.state import runs
from aiforge.state.schema import now


class Clock:
    """The overseer's time, ahead of the real one."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> Any:
        return now() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(overseer, "now", made)
    return made


def syncs_after(world: World, clock: Clock, minutes: float) -> list[Run]:
    """What is queued after two looks so long from now."""
    clock.ahead = timedelta(minutes=minutes)
    look(world)
    look(world)
    return world.services.state.call_sync(runs.waiting)


@pytest.fixture
def source_id(api: httpx.Client, world: World, make_repository: Any) -> str:
    body = {"url": str(make_repository({"a.py": "x = 1\n"})), "syncSeconds": 900}
    created = api.post("/data-sources", json=body)
    assert created.status_code == 201, created.text
    world.finish(created.json()["sourceId"])
    return str(created.json()["sourceId"])


def test_a_source_is_synced_at_its_interval_once_each_time(
    world: World, clock: Clock, source_id: str
) -> None:
    assert syncs_after(world, clock, 14) == []

    (queued,) = syncs_after(world, clock, 16)

    assert queued.resource_id == source_id
    world.finish(source_id)
    assert syncs_after(world, clock, 14) == []
    assert len(syncs_after(world, clock, 16)) == 1


def test_each_scheduled_sync_is_logged_under_an_id_of_its_own(
    world: World, clock: Clock, source_id: str
) -> None:
    (first,) = syncs_after(world, clock, 16)
    world.finish(source_id)
    (second,) = syncs_after(world, clock, 16)

    found = [about(run)["request"] for run in (first, second)]

    assert all(name.startswith("req-") for name in found)
    assert found[0] != found[1]


def test_a_sync_that_fails_is_tried_again_at_growing_distances(
    world: World, clock: Clock, source_id: str
) -> None:
    for minutes in (16, 16, 31):
        assert syncs_after(world, clock, minutes - 2) == []
        (queued,) = syncs_after(world, clock, minutes)
        world.fail(world.start(source_id), "It is away.", "source_unreachable")
        assert queued.resource_id == source_id
    assert syncs_after(world, clock, 59) == []
    assert len(syncs_after(world, clock, 61)) == 1
    world.finish(source_id)
    assert len(syncs_after(world, clock, 16)) == 1


def test_the_interval_is_read_changed_and_given_back_to_the_settings(
    api: httpx.Client, world: World, clock: Clock, source_id: str
) -> None:
    route = f"/data-sources/{source_id}"
    assert api.get(route).json()["syncSeconds"] == 900
    assert api.patch(route, json={"syncSeconds": 7200}).json()["syncSeconds"] == 7200
    assert syncs_after(world, clock, 119) == []

    assert api.patch(route, json={"syncSeconds": None}).json()["syncSeconds"] is None

    assert syncs_after(world, clock, 100_000) == []
    world.services.settings = world.services.settings.model_copy(update={"sync_seconds": 600})
    assert len(syncs_after(world, clock, 11)) == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [({"syncSeconds": 59}, 400, "syncSeconds"), ({"syncSeconds": "x"}, 422, "syncSeconds"),
     ({}, 422, "syncSeconds"), ({"syncSeconds": 60, "url": "x"}, 422, "url")],
)  # fmt: skip
def test_a_wrong_interval_is_refused_and_changes_nothing(
    api: httpx.Client, source_id: str, body: dict[str, Any], status: int, field: str
) -> None:
    answer = api.patch(f"/data-sources/{source_id}", json=body)

    assert (answer.status_code, answer.json()["detail"]["field"]) == (status, field)
    assert api.get(f"/data-sources/{source_id}").json()["syncSeconds"] == 900
