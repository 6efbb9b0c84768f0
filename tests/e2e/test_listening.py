"""A platform on loopback listens nowhere else."""

from __future__ import annotations

import contextlib
import re
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil
import pytest
from harness import Platform

from aiforge.runtime import cluster


def addresses(platform: Platform) -> dict[int, tuple[str, str]]:
    """By port, the process that listens and its address."""
    info = cluster.running(platform.settings)
    assert info is not None
    found = {}
    for process in cluster.processes_of(info.id, info.pid):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    address = connection.laddr.ip.removeprefix("::ffff:")
                    found[connection.laddr.port] = (process.name(), address)
    return found


@pytest.mark.cluster
def test_every_port_of_a_local_platform_is_on_loopback(platform: Platform) -> None:
    httpx.get(f"{platform.url}/health").raise_for_status()

    listening = addresses(platform)

    assert {"gcs_server", "raylet", "haproxy"} <= {name for name, _ in listening.values()}
    outside = [name for name, address in listening.values() if not ip_address(address).is_loopback]
    assert outside == []


@pytest.mark.cluster
def test_what_haproxy_sends_requests_to_is_this_platform_alone(platform: Platform) -> None:
    """Ray has one port for all clusters' stand-in proxies, and begins with one for all replicas."""
    info = cluster.running(platform.settings)
    assert info is not None
    found = cluster.processes_of(info.id, info.pid)
    (haproxy,) = [each for each in found if each.name() == "haproxy"]
    path = haproxy.cmdline()[haproxy.cmdline().index("-f") + 1]
    servers = re.findall(r"^ *server \S+ 127\.0\.0\.1:(\d+)", Path(path).read_text(), re.MULTILINE)

    reserved = range(20_000, 32_700)
    listening = addresses(platform)

    assert len(servers) >= 2
    assert all(int(port) in reserved and int(port) in listening for port in servers)
    assert len({int(port) // 100 for port in servers}) == 1


@pytest.mark.cluster
def test_ray_forgets_tasks_and_actors_that_are_gone(platform: Platform) -> None:
    info = cluster.running(platform.settings)
    assert info is not None
    processes = cluster.processes_of(info.id, info.pid)
    (control,) = [each for each in processes if each.name() == "gcs_server"]

    environment = control.environ()

    assert environment["RAY_task_events_max_num_task_in_gcs"] == "10000"
    assert environment["RAY_maximum_gcs_destroyed_actor_cached_count"] == "1000"
