"""What a machine keeps of exported files that lie on an object store."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aiforge.errors import Unavailable
from aiforge.services import copies
from aiforge.settings import Retention, Settings

HOUR = 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, gguf_cache_bytes=30, retention=Retention(cache_days=2))


def fetch(settings: Settings, name: str, *, idle_hours: float = 0.0) -> Path:
    """A copy of ten bytes that was last used some time ago."""
    with copies.fetched(settings, name, 10) as (partial, path):
        partial.write_bytes(b"0123456789")
    moment = time.time() - idle_hours * HOUR
    os.utime(path, (moment, moment))
    return path


def kept(settings: Settings) -> list[str]:
    return sorted(path.stem for path in (settings.home / "cache" / "gguf").iterdir())


def test_the_copy_used_longest_ago_makes_room(settings: Settings) -> None:
    for name, hours in (("a", 9), ("b", 7), ("c", 8)):
        fetch(settings, name, idle_hours=hours)
    changed = (settings.home / "cache/gguf/a.gguf").stat().st_mtime_ns

    found = copies.find(settings, "a")
    fetch(settings, "d")

    assert kept(settings) == ["a", "b", "d"]
    assert found is not None
    assert found.stat().st_mtime_ns == changed, "an engine would load it again"
    assert copies.find(settings, "c") is None


def test_what_may_be_in_use_stays_whatever_the_bound(settings: Settings) -> None:
    for name in ("a", "b", "c", "d"):
        fetch(settings, name)
    assert kept(settings) == ["a", "b", "c", "d"]


def test_what_was_not_used_for_long_goes_without_need(settings: Settings) -> None:
    fetch(settings, "old", idle_hours=49)
    fetch(settings, "newer", idle_hours=47)
    torn = settings.home / "cache/gguf/.x.gguf.1.partial"
    torn.write_bytes(b"0")
    os.utime(torn, (0, 0))

    copies.make_room(settings)

    assert kept(settings) == ["newer"]


def test_a_fetch_that_fails_leaves_nothing(settings: Settings) -> None:
    def broken() -> None:
        with copies.fetched(settings, "a", 10) as (partial, _):
            partial.write_bytes(b"012")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken()
    assert kept(settings) == []


def test_what_no_disk_holds_is_refused_before_it_is_fetched(settings: Settings) -> None:
    with (
        pytest.raises(Unavailable, match="free some space") as refused,
        copies.fetched(settings, "a", 1 << 60),
    ):
        raise AssertionError("it was begun")
    assert refused.value.code == "disk_full"


def test_a_forgotten_copy_is_gone(settings: Settings) -> None:
    path = fetch(settings, "a")
    for _ in range(2):
        copies.forget(settings, "a")
    assert not path.exists()
