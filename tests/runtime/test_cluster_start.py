"""A local cluster comes up although others on the machine start at the same moment."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from aiforge.runtime import cluster, ports
from aiforge.settings import Settings

pytestmark = pytest.mark.cluster


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_dashboard_port_that_another_cluster_had_first_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", port=next(ports.free()))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(ports, "for_dashboard", lambda free: taken)
        info = cluster.start(settings)

    assert cluster.stop(settings)
    assert not info.dashboard.endswith(f":{taken}")
    assert cluster.processes_of(info.id, info.pid) == []


def test_a_start_that_fails_lets_go_of_the_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", port=next(ports.free()))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))

    with pytest.raises(FileNotFoundError):
        cluster.start(settings)

    held = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [name for name in held if "/ports-" in name]
