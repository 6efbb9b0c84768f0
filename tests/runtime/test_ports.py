"""No two platforms on one machine have a port in common, whichever of their processes die."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from aiforge.errors import Failure
from aiforge.runtime import haproxy, ports


def test_no_two_clusters_have_a_port_in_common(tmp_path: Path) -> None:
    reserved = [ports.reserve(tmp_path) for _ in range(20)]
    for one, other in combinations([found for found, _ in reserved], 2):
        assert not set(one) & set(other)
    for _, lock in reserved:
        os.close(lock)


def test_a_range_is_free_once_its_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_RANGES", range(20_000, 20_100, 100))
    _, lock = ports.reserve(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
    ) as holder:
        os.close(lock)
        with pytest.raises(Failure, match="taken"):
            ports.reserve(tmp_path)
        holder.kill()
    found, lock = ports.reserve(tmp_path)
    assert found == range(20_000, 20_100)
    os.close(lock)


def test_a_range_that_another_user_has_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as replica:
        replica.bind(("127.0.0.1", 0))
        replica.listen()
        port = replica.getsockname()[1]
        monkeypatch.setattr(ports, "_RANGES", range(port, port + 100, 100))
        with pytest.raises(Failure, match="taken"):
            ports.reserve(tmp_path)


def test_replicas_have_the_ports_of_their_cluster(tmp_path: Path) -> None:
    environment = haproxy.environment(tmp_path, ports.free(), range(20_300, 20_400))
    bounds = [
        int(environment[f"RAY_SERVE_{name}_PORT"])
        for name in (
            *("DIRECT_INGRESS_MIN_HTTP", "DIRECT_INGRESS_MAX_HTTP", "FALLBACK_PROXY_HTTP"),
            *("DIRECT_INGRESS_MIN_GRPC", "DIRECT_INGRESS_MAX_GRPC", "FALLBACK_PROXY_GRPC"),
        )
    ]
    assert bounds == sorted(set(bounds))
    assert set(bounds) <= set(range(20_300, 20_400))
