"""A platform of its own, started and stopped as a user does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from harness import Platform, aiforge, free_port

from aiforge.runtime import cluster
from aiforge.settings import Settings


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for all end-to-end tests."""
    home, port = tmp_path_factory.mktemp("platform") / "home", free_port()
    # A development platform may read below the directory that it is started in.
    below = tmp_path_factory.getbasetemp()
    done = aiforge("up", "--detach", "--json", home=home, port=port, cwd=below)
    assert done.returncode == 0, done.stderr
    yield Platform(home, port, json.loads(done.stdout))
    info = cluster.read_info(Settings(home=home, port=port))
    assert info is not None
    assert aiforge("down", home=home, port=port).returncode == 0
    assert cluster.processes_of(info.id) == []
