"""One look of all watchers at everything, and one step of everything that was approved.

It keeps nothing that matters: whatever it was doing when it died stands in the state, and another
look finds it there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable

from aiforge.errors import AIForgeError, Unavailable
from aiforge.schemas.common import new_id
from aiforge.schemas.missions import Decision, MissionDetail, MissionPolicy
from aiforge.services import artifacts, missions, outcomes_of, preflight
from aiforge.services.context import Services
from aiforge.services.execution import Executor
from aiforge.services.watchers import (
    Attachment,
    Found,
    Quiet,
    Watching,
    of_platform,
    of_project,
)
from aiforge.state import decisions, executions, jobs, proposals, sources
from aiforge.state import missions as state
from aiforge.state.schema import now
from aiforge.state.store import RequestKey

AUTOMATIC = "policy"
"""Who approves, where the policy of a project does."""

_log = logging.getLogger(__name__)


class Overseer:
    """Watches, executes and measures.

    Args:
        project_watchers: Asked about each project in turn.
        platform_watchers: Asked about the platform itself.
    """

    def __init__(
        self,
        services: Services,
        project_watchers: Iterable[Watching] | None = None,
        platform_watchers: Iterable[Watching] | None = None,
    ) -> None:
        self._services = services
        self._state = services.state
        self._executor = Executor(services)
        self._of_project = list(of_project() if project_watchers is None else project_watchers)
        self._of_platform = list(of_platform() if platform_watchers is None else platform_watchers)
        self._shown: dict[str, int] = {}

    async def look(self) -> None:
        """One round. What cannot be found out now is found out by a later one."""
        await self._guarded(self._sync(), "Syncing sources")
        for project in await self._state.call(jobs.project_names):
            policy = await missions.policy_of(self._state, project)
            for watcher in self._of_project:
                await self._ask(watcher, project, policy)
        for watcher in self._of_platform:
            await self._ask(watcher, state.PLATFORM, missions.shipped_policy())
        await self._approve()
        for mission in await self._state.call(executions.executing):
            await self._guarded(self._executor.advance(mission), f"The execution of {mission.id}")
        for mission in await self._state.call(executions.unmeasured):
            await self._guarded(self._measure(mission), f"The outcome of {mission.id}")

    async def _sync(self) -> None:
        """Queue a sync of each source whose own interval, or that of the settings, is over."""
        seconds = self._services.settings.sync_seconds
        for one in await self._state.call(sources.due, seconds, now()):
            # A repetition after a crash is the same sync; one that was asked for meanwhile is as
            # good.
            key = RequestKey(f"{one.source_id}:{one.run_id}:scheduled")
            queue = self._state.once(key).call(
                sources.sync, one.source_id, preflight.SYNC, new_id("req")
            )
            await self._guarded(queue, f"The sync of {one.source_id}")

    async def _ask(self, watcher: Watching, project: str, policy: MissionPolicy) -> None:
        if watcher.name not in policy.watchers:
            await self._state.call(proposals.withdraw, project, watcher.name, "It is switched off.")
            return
        await self._guarded(self._hear(watcher, project, policy), f"Watching {watcher.name}")

    async def _hear(self, watcher: Watching, project: str, policy: MissionPolicy) -> None:
        finding = await watcher.look(self._services, project, policy)
        match finding:
            case Quiet():
                await self._state.call(proposals.withdraw, project, watcher.name, finding.because)
            case Found():
                mission = await self._state.call(proposals.propose, finding.proposal, policy)
                if mission is not None:
                    await self._show(mission, finding.attachments)

    async def _show(self, mission: MissionDetail, attachments: list[Attachment]) -> None:
        """Keep the files of a mission, once for each version of its evidence."""
        if self._shown.get(mission.id) == mission.version:
            return
        about = [
            *mission.related_job_ids,
            *mission.related_model_ids,
            *mission.related_dataset_ids,
        ]
        for one in attachments:
            await asyncio.to_thread(
                artifacts.keep,
                self._state,
                self._services.storage,
                mission.id,
                one.type,
                one.name,
                one.content,
                one.mime_type,
                resource_ids=about,
            )
        self._shown[mission.id] = mission.version

    async def _approve(self) -> None:
        """Approve what policies allow to be approved without a person."""
        for mission in await self._state.call(state.pending):
            project = mission.project_name or state.PLATFORM
            policy = await missions.policy_of(self._state, project)
            allowed = policy.auto_approval
            if mission.watcher not in allowed.watchers:
                continue
            if mission.confidence < allowed.min_confidence:
                continue
            since = now() - state.DAY
            used = await self._state.call(state.automatic_since, project, since)
            if used >= allowed.daily_limit:
                continue
            decision = Decision(
                by=AUTOMATIC, at=now(), comment="Approved by the project's policy", automatic=True
            )
            key = RequestKey(f"{mission.id}:{mission.version}:automatic")
            await self._guarded(
                self._state.once(key).call(
                    decisions.approve, mission.id, decision, mission.version
                ),
                f"The approval of {mission.id}",
            )

    async def _measure(self, mission: MissionDetail) -> None:
        """Measure what an executed mission changed, as its evidence was measured."""
        outcome = await outcomes_of.retrain(self._services, mission)
        if outcome is not None:
            await self._state.call(executions.record_outcome, mission.id, outcome)

    async def _guarded(self, work: Awaitable[object], what: str) -> None:
        """One thing that fails must not keep the others from happening."""
        try:
            await work
        except Unavailable as error:
            _log.info("%s waits: %s", what, error.message)
        except AIForgeError as error:
            _log.warning("%s failed: %s", what, error.message)
        except Exception:
            _log.exception("%s failed", what)
