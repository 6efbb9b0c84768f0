"""The dispatcher as a detached actor, with what shares its process."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import ray

from aiforge import logs
from aiforge.runtime import metrics, renewal
from aiforge.runtime.dispatching import Dispatcher
from aiforge.runtime.drivers import Drivers, RayDrivers
from aiforge.runtime.missions import watch
from aiforge.runtime.renewal import Renewal
from aiforge.services.context import Services
from aiforge.services.overseer import Overseer
from aiforge.services.sender import Sender
from aiforge.services.work import WorkOf, work_of
from aiforge.settings import Settings
from aiforge.state import ray_settings
from aiforge.state.access import State
from aiforge.state.actor import RayState
from aiforge.storage import Storage

NAME = "dispatcher"


class DispatcherActor:
    """The dispatcher, the sender of webhooks and the watchers, each in a thread with its loop.

    A look of the watchers may take long, and neither runs nor deliveries wait for it.

    Args:
        renew_after: Drivers that the process starts before Ray is to start it anew.
    """

    def __init__(
        self, settings: Settings, work_of: WorkOf, renew_after: int = renewal.ACTORS
    ) -> None:
        settings = ray_settings.current(settings)
        logs.install(settings, "dispatcher")
        self._settings = settings
        self._work_of = work_of
        self._renewal = Renewal(self._end, renew_after)
        threading.Thread(target=self._run, name="dispatcher", daemon=True).start()
        threading.Thread(target=self._send, name="webhooks", daemon=True).start()
        threading.Thread(target=self._watch, name="watchers", daemon=True).start()
        threading.Thread(target=self._export_metrics, name="metrics", daemon=True).start()

    def ping(self) -> bool:
        """Answer."""
        return True

    def _end(self) -> None:
        """As a crash ends it, but without an error that would be told: Ray starts it anew."""
        itself = ray.get_actor(NAME, namespace=self._settings.namespace)
        ray.kill(itself, no_restart=False)

    def _run(self) -> None:
        state = RayState(self._settings.namespace)
        drivers = RayDrivers(self._settings, self._work_of)
        asyncio.run(self._main(state, drivers))

    def _export_metrics(self) -> None:
        metrics.serve(self._settings, RayState(self._settings.namespace))

    def _send(self) -> None:
        state = RayState(self._settings.namespace)
        sender = Sender(state, self._settings.webhook_trusted_hosts, self._renewal.work)
        asyncio.run(sender.run())

    async def _main(self, state: State, drivers: Drivers) -> None:
        await Dispatcher(state, drivers, self._settings, self._renewal).run()

    def _watch(self) -> None:
        state = RayState(self._settings.namespace)
        storage = Storage(self._settings.resolved_storage_uri)
        services = Services(state, storage, self._settings, cluster_resources=ray.cluster_resources)
        asyncio.run(watch(state, Overseer(services), self._renewal.work))


def start(settings: Settings, work_of: WorkOf = work_of, renew_after: int = renewal.ACTORS) -> None:
    """Start the dispatcher on the head node, or find the one that runs."""
    actor: Any = ray.remote(DispatcherActor).options(
        name=NAME,
        namespace=settings.namespace,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources={"node:__internal_head__": 0.001},
        max_restarts=-1,
        max_task_retries=-1,
    )
    ray.get(actor.remote(settings, work_of, renew_after).ping.remote())
