"""The variables of a local cluster's processes, and of those that talk to it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from aiforge.settings import Settings

_SERVE_MODE = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # Serve kills a proxy that is not there within five seconds, and whoever waits for it fails:
    # on a busy machine a platform did not come back so.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}

# Ray's control service keeps a hundred thousand of each by default, some hundred MiB that it fills
# within days of ordinary work.
_RAY_MEMORY = {
    "RAY_task_events_max_num_task_in_gcs": "10000",
    "RAY_maximum_gcs_destroyed_actor_cached_count": "1000",
}

# Ray replaces a loopback address by the machine's own, and listens on every interface, but where
# it takes the machine for one of a kind that has no clusters.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

_QUIET = {
    "PYTHONUNBUFFERED": "1",
    "RAY_DEDUP_LOGS": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TOKENIZERS_PARALLELISM": "false",
}


def of_settings(settings: Settings) -> dict[str, str]:
    """The settings as variables, so that every process of the cluster has the same ones."""
    values = settings.with_secrets() | {"home": str(settings.home.resolve())}
    return {
        f"AIFORGE_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def of_client(token_file: Path) -> dict[str, str]:
    """What a driver of the local cluster sets before it imports Ray."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
    return token | _SERVE_MODE | _LOOPBACK | _QUIET


def of_head(settings: Settings, dashboard: str) -> dict[str, str]:
    """What all processes of the local cluster have beside its token and its HAProxy.

    Args:
        dashboard: Address of Ray's dashboard.
    """
    found = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    found |= of_settings(settings) | _SERVE_MODE | _QUIET | _RAY_MEMORY | _LOOPBACK
    # A submitted job that says `python` means the one that runs the platform.
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Else Ray looks for it among all processes of the machine, and gives up where it finds two:
    # so a killed training kept its placement group for good where another cluster ran.
    found["RAY_API_SERVER_ADDRESS"] = dashboard
    return found
