"""The platform on a Ray cluster: State, dispatcher and the Serve application.

``start`` brings all of it up, on a local cluster that it starts or on one that exists;
``connect`` reaches a running one. This module is imported before Ray, since Ray and Serve read
their variables when they are imported.
"""

from __future__ import annotations

import importlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from aiforge.errors import AIForgeError, Failure, Unavailable
from aiforge.runtime import cluster, environments
from aiforge.runtime.cluster import ClusterInfo
from aiforge.services import startup
from aiforge.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application

    from aiforge.services.context import Services

APPLICATION = "aiforge"
READY_SECONDS = 120.0
CONNECT_SECONDS = 10.0

Progress = Callable[[str], None]


def start(
    settings: Settings, application: Callable[[Settings], Application], progress: Progress
) -> ClusterInfo | None:
    """Bring the platform up and return once ``/health`` answers.

    Args:
        settings: Where it lives; ``ray_address`` names a cluster that exists already.
        application: Builds the Serve application.
        progress: Told what is being done.

    Returns:
        The local cluster, or ``None`` where an existing one is used.

    Raises:
        InvalidInput: The settings would leave it open to others.
        Conflict: It runs already, or the port is taken.
        Failure: Something did not come up.
    """
    startup.require_safe(settings)
    if settings.ray_address:
        connect(settings)
        _deploy(settings, application, progress)
        return None
    progress("Starting a local Ray cluster")
    imported = _import_in_background(settings)
    info = cluster.start(settings)
    try:
        imported.join()
        connect(settings)
        _deploy(settings, application, progress)
    except BaseException as error:
        _disconnect()
        cluster.stop(settings)
        if isinstance(error, AIForgeError | KeyboardInterrupt):
            raise
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise Failure(
            f"The platform did not start: {reason}. Try again; the log is {info.log}.",
            code="platform_not_started",
        ) from error
    _disconnect()
    return info


def restart(
    settings: Settings, application: Callable[[Settings], Application], progress: Progress
) -> None:
    """Replace State, dispatcher and API replicas by the installed version while requests go on.

    They take up the settings too; drivers that start from then on get them. Runs that are under
    way are not touched. State and dispatcher come back within seconds, and writes wait for them;
    an API replica stops when another one answers in its place.

    Raises:
        Unavailable: The platform is not running.
        Conflict: It was started with settings that only a new start can change.
        Failure: The new replicas did not become healthy; the old ones go on.
    """
    startup.require_safe(settings)
    if not settings.ray_address:
        cluster.require_same(settings)
    connect(settings)
    from aiforge.runtime import dispatcher
    from aiforge.state import actor

    try:
        _publish(settings)
        progress("Restarting the state")
        renew(actor.NAME, settings)
        actor.start(settings)
        progress("Restarting the dispatcher")
        renew(dispatcher.NAME, settings)
        dispatcher.start(settings)
        progress("Replacing the API's replicas")
        _serve(settings, application)
    finally:
        _disconnect()


def _publish(settings: Settings) -> None:
    """Have actors that start from now on work with these settings.

    Raises:
        Conflict: The platform that runs was started with another database, storage or address.
    """
    from aiforge.state import ray_settings

    if before := ray_settings.published(settings.namespace):
        cluster.require_equal(environments.of_settings(before), settings)
    ray_settings.publish(settings)


def renew(name: str, settings: Settings) -> None:
    """End the process of a detached actor; Ray starts it anew and repeats what was under way."""
    import ray

    ray.kill(ray.get_actor(name, namespace=settings.namespace), no_restart=False)


def connect(settings: Settings) -> None:
    """Make this process a driver of the platform's Ray cluster.

    Raises:
        Unavailable: No cluster runs (``platform_not_running``, ``ray_not_reachable``).
    """
    address = settings.ray_address or _own_cluster()
    if not address:
        info = cluster.running(settings)
        if info is None:
            raise Unavailable(
                f"AI Forge is not running from {settings.home}; start it with `aiforge up`.",
                code="platform_not_running",
            )
        address = info.address
        _prepare_environment(settings)
    import ray

    try:
        if settings.ray_address:
            _require_listening(settings.ray_address)
        ray.init(
            address=address,
            namespace=settings.namespace,
            log_to_driver=False,
            logging_level="ERROR",
            ignore_reinit_error=True,
        )
    except ConnectionError as error:
        raise Unavailable(
            f"No Ray cluster answers at {address!r}. Start one (`ray start --head`), name another "
            "by AIFORGE_RAY_ADDRESS, or set AIFORGE_RAY_ADDRESS=local and `aiforge up` starts its "
            "own on this machine.",
            code="ray_not_reachable",
        ) from error


def _require_listening(address: str) -> None:
    """Ray itself tries for minutes and tells the terminal of each attempt."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ConnectionError(str(error)) from error
            time.sleep(0.5)


def open_services(settings: Settings) -> Services:
    """The use cases over the cluster that this process runs on, its actors started if need be.

    Raises:
        Unavailable: No cluster runs.
    """
    connect(settings)
    import ray

    from aiforge.runtime import dispatcher
    from aiforge.services.context import Services
    from aiforge.state import actor, ray_settings
    from aiforge.storage import Storage
    from aiforge.training.ray_prepare import probe_on_cluster

    # A submitted job has the variables of the cluster's start.
    settings = ray_settings.current(settings)
    state = actor.start(settings)
    dispatcher.start(settings)
    storage = Storage(settings.resolved_storage_uri)
    return Services(state, storage, settings, ray.cluster_resources, probe=probe_on_cluster)


def _prepare_environment(settings: Settings) -> None:
    os.environ.update(environments.of_client(cluster.token_file(settings)))


def _own_cluster() -> str | None:
    """The cluster that this process is a submitted job of, if it is one."""
    return "auto" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else None


def _import_in_background(settings: Settings) -> threading.Thread:
    """Import Ray while its cluster starts: they take about as long on two cores."""
    _prepare_environment(settings)

    def load() -> None:
        for name in ("ray", "ray.serve", "aiforge.runtime.dispatcher", "aiforge.state.actor"):
            importlib.import_module(name)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    return thread


def _deploy(
    settings: Settings, application: Callable[[Settings], Application], progress: Progress
) -> None:
    from aiforge.runtime import dispatcher, limiter
    from aiforge.state import actor

    progress("Opening the state")
    _publish(settings)
    actor.start(settings)
    if settings.env != "development":
        limiter.start(settings)
    progress("Starting the API")
    _serve(settings, application)
    # Last, since it begins at once with what was running before: what that starts would take the
    # processors from the API, and nobody could see it or cancel it.
    progress("Taking up what was running")
    dispatcher.start(settings)


def _serve(settings: Settings, application: Callable[[Settings], Application]) -> None:
    from ray import serve

    _quiet_serve()
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": settings.host, "port": settings.port},
    )
    serve.run(application(settings), name=APPLICATION, route_prefix="/", blocking=False)
    _wait_until_healthy(settings)


def _quiet_serve() -> None:
    import logging

    logging.getLogger("ray.serve").setLevel(logging.ERROR)


def _wait_until_healthy(settings: Settings) -> None:
    url = f"http://{settings.host}:{settings.port}/health"
    deadline = time.monotonic() + READY_SECONDS
    last: Any = None
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, timeout=5)
            if answer.status_code == 200:
                return
            last = answer.text[:300]
        except httpx.HTTPError as error:
            last = error
        time.sleep(0.1)
    raise Failure(f"{url} did not become healthy: {last}", code="api_not_ready")


def _disconnect() -> None:
    import ray

    ray.shutdown()
