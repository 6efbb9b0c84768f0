"""Frees placement groups whose owner died before anything knew of them.

Ray Train has a helper that removes the group of a controller that was killed, and tells it of the
group once all workers have started. A controller that is killed before that leaves the group for
good, and with it the CPUs or GPUs that it holds.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import ray

UNUSED_SECONDS = 60.0
"""How long a group may be without an actor that lives in it or waits for a place there."""

_STATES = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "ALIVE", "RESTARTING")
_MOST = 10_000

_log = logging.getLogger(__name__)


class Placements:
    """Looks after the groups that descend from this process's Ray job.

    Args:
        seconds: How long a group may be unused.
    """

    def __init__(self, seconds: float = UNUSED_SECONDS) -> None:
        self._seconds = seconds
        self._unused_since: dict[str, float] = {}

    def sweep(self) -> list[str]:
        """Remove the groups that have been unused for too long; their ids."""
        from ray.util.placement_group import placement_group_table

        # One that waits for its resources has nobody in it yet, and holds nothing.
        there = {id for id, group in placement_group_table().items() if group["state"] == "CREATED"}
        known, now = self._unused_since, time.monotonic()
        self._unused_since = {id: known.get(id, now) for id in there}
        due = {id for id, since in self._unused_since.items() if now - since >= self._seconds}
        if not due:
            return []
        for id in due & _used():
            self._unused_since[id] = now
            due.discard(id)
        orphans = sorted(due & _own())
        for id in orphans:
            _remove(id)
        return orphans


def _used() -> set[str]:
    from ray.util.state import list_actors

    return {
        actor.placement_group_id
        for state in _STATES
        for actor in list_actors(filters=[("state", "=", state)], **_query())
        if actor.placement_group_id
    }


def _own() -> set[str]:
    """Another job on the same cluster may leave a group empty as long as it likes."""
    from ray.util.state import list_placement_groups

    job = ray.get_runtime_context().get_job_id()
    return {
        group.placement_group_id
        for group in list_placement_groups(**_query())
        if group.creator_job_id == job
    }


def _query() -> dict[str, Any]:
    return {
        "address": ray.get_runtime_context().gcs_address,
        "detail": True,
        "limit": _MOST,
        "raise_on_missing_output": True,
    }


def _remove(id: str) -> None:
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    _log.warning("Placement group %s has lost its owner and is removed", id)
    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(id))))
