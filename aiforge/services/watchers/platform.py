"""Alerts about the platform itself."""

from __future__ import annotations

from aiforge.schemas.missions import MissionPolicy, Reasoning, RecommendedAction, Watcher
from aiforge.schemas.runs import Run
from aiforge.services.context import Services
from aiforge.services.watchers.base import Finding, Found, Quiet
from aiforge.state import runs
from aiforge.state.proposals import Proposal
from aiforge.state.schema import now

GIB = 1 << 30


class FullDisk:
    """The disk under the storage is nearly full."""

    name: Watcher = "full_disk"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        storage = services.storage
        disk = storage.disk()
        if disk is None:
            return Quiet("The storage is no disk of this machine.")
        total, free = disk
        share = free / total
        if share >= policy.disk_free_fraction:
            return Quiet(f"{share:.0%} of the disk are free again.")
        return Found(
            Proposal(
                project_name=project,
                watcher=self.name,
                subject="storage",
                title=f"The disk is nearly full: {share:.0%} free",
                description=f"Less than {policy.disk_free_fraction:.0%} is free under "
                f"{storage.uri}.",
                priority="high" if share < policy.disk_free_fraction / 2 else "medium",
                confidence=100,
                # In whole percents, so that not every written file is new evidence.
                magnitude=round(1 - share, 2),
                reasoning=Reasoning(
                    trigger="Little space is left",
                    analysis=f"About {share:.0%} of {total / GIB:.0f} GiB is free.",
                    expected_outcome="Deleting datasets, sources or old models makes room; until "
                    "then new runs may be refused with disk_full.",
                ),
                action=RecommendedAction(type="acknowledge"),
                evidence={"freeShare": round(share, 2), "totalBytes": total},
            )
        )


class StalledQueue:
    """A run waits for long while nothing runs."""

    name: Watcher = "stalled_queue"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        waiting = await services.state.call(runs.waiting, 1)
        active = await services.state.call(runs.active)
        if not waiting or active:
            return Quiet("The queue moves again.")
        seconds = (now() - waiting[0].created_at).total_seconds()
        if seconds < policy.queue_seconds:
            return Quiet("The queue moves again.")
        return Found(_stalled(project, waiting[0], int(seconds // 3600)))


def _stalled(project: str, oldest: Run, hours: int) -> Proposal:
    reason = oldest.queued_reason or "no reason was noted; the dispatcher may be away"
    return Proposal(
        project_name=project,
        watcher="stalled_queue",
        subject=oldest.id,
        title="The queue stalls",
        description=f"{oldest.id} has waited since {oldest.created_at:%Y-%m-%d %H:%M} UTC while "
        f"nothing runs: {reason}",
        priority="high",
        confidence=100,
        # In whole hours, so that not every look is new evidence.
        magnitude=float(1 + hours),
        reasoning=Reasoning(
            trigger="A run waits although nothing runs",
            analysis=f"{oldest.id} ({oldest.kind}): {reason}",
            expected_outcome="It goes on once what it waits for is there, or it is cancelled.",
        ),
        action=RecommendedAction(type="acknowledge", parameters={"runId": oldest.id}),
        evidence={"runId": oldest.id, "kind": oldest.kind, "reason": reason},
    )
