"""One platform writes to a database at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aiforge.errors import Unavailable
from aiforge.schemas.common import new_id
from aiforge.schemas.runs import Resources
from aiforge.state import sources
from aiforge.state.leases import LASTS, Lease
from aiforge.state.sources import NewSource
from aiforge.state.store import Store


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(database_url: str, clock: Clock) -> Iterator[tuple[Store, Store]]:
    one, other = (Store(database_url, Lease(name, clock)) for name in ("here", "there"))
    yield one, other
    one.close()
    other.close()


def add(store: Store) -> None:
    new = NewSource(
        id=new_id("src"), name="x", type="git", include_patterns=[], exclude_patterns=[]
    )
    store.run(sources.create, (new, Resources()))


def count(store: Store) -> int:
    return store.run(sources.page, (10, 0)).total


def test_a_second_platform_reads_but_does_not_write(stores: tuple[Store, Store]) -> None:
    one, other = stores
    add(one)

    with pytest.raises(Unavailable, match=r"Another platform \(here\)") as refused:
        add(other)

    assert refused.value.code == "state_taken"
    assert count(other) == 1


def test_who_renews_keeps_it_and_who_does_not_loses_it(
    stores: tuple[Store, Store], clock: Clock
) -> None:
    one, other = stores
    add(one)
    for _ in range(5):
        clock.moment += LASTS - timedelta(seconds=1)
        one.hold()
        with pytest.raises(Unavailable):
            add(other)
    clock.moment += LASTS + timedelta(seconds=1)
    add(other)
    # It was away for too long, and finds out before it writes.
    with pytest.raises(Unavailable, match=r"Another platform \(there\)"):
        add(one)
    assert count(one) == 2


def test_a_write_that_fails_renews_nothing_by_half(
    stores: tuple[Store, Store], clock: Clock
) -> None:
    one, other = stores
    for _ in range(4):
        clock.moment += timedelta(seconds=20)
        with pytest.raises(TypeError):
            one.run(sources.create, ())
    with pytest.raises(Unavailable):
        add(other)


def test_the_same_platform_takes_over_from_itself_at_once(database_url: str, clock: Clock) -> None:
    for _ in range(2):
        store = Store(database_url, Lease("here", clock))
        add(store)
        store.close()
    reader = Store(database_url)
    assert count(reader) == 2
    reader.close()
