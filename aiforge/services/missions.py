"""Missions: what a person sees of them, and decides."""

from __future__ import annotations

from aiforge.errors import Conflict
from aiforge.schemas.common import Message, Page
from aiforge.schemas.missions import (
    ApproveRequest,
    Decision,
    MissionDetail,
    MissionList,
    MissionPolicy,
    MissionStatus,
    MissionType,
    RejectRequest,
    TrackRecord,
)
from aiforge.services.context import Services
from aiforge.settings import config_dir, read_yaml
from aiforge.state import decisions, mission_policies, missions, track_record
from aiforge.state.access import State
from aiforge.state.schema import now
from aiforge.state.store import RequestKey


async def list_page(
    services: Services,
    page: Page,
    status: MissionStatus | None = None,
    type: MissionType | None = None,
    project_name: str | None = None,
) -> MissionList:
    """Missions, newest first."""
    project = services.only_project(project_name)
    return await services.state.call(missions.page, page.limit, page.offset, status, type, project)


async def get(services: Services, mission_id: str) -> MissionDetail:
    """One mission, or ``NotFound``."""
    return await services.state.call(missions.get, mission_id)


async def approve(
    services: Services,
    mission_id: str,
    request: ApproveRequest,
    by: str,
    key: RequestKey | None = None,
) -> Message:
    """Approve a mission; the dispatcher then carries out its action, once.

    Args:
        by: Who approves.
        key: Of an ``Idempotency-Key``; the same one again changes nothing.

    Raises:
        NotFound: There is no such mission.
        Conflict: It is decided already, its evidence is newer than the version that was looked
            at, or the world has moved since it was proposed; it is superseded then.
    """
    decision = Decision(by=by, at=now(), comment=request.comment)
    approve_once = services.state.once(key)
    mission = await approve_once.call(decisions.approve, mission_id, decision, request.version)
    if mission.status is MissionStatus.SUPERSEDED:
        raise Conflict(
            f"{mission_id} does not hold any more: {mission.superseded_because} A mission that "
            "fits follows where there is a reason for it.",
            code="mission_outdated",
            because=mission.superseded_because,
        )
    return Message(message="Approved")


async def reject(
    services: Services,
    mission_id: str,
    request: RejectRequest,
    by: str,
    key: RequestKey | None = None,
) -> Message:
    """Reject a mission; the same is proposed again only once its evidence has grown.

    Raises:
        NotFound: There is no such mission.
        Conflict: It is decided already.
    """
    await services.state.once(key).call(missions.reject, mission_id, by, request.reason)
    return Message(message="Rejected")


def shipped_policy() -> MissionPolicy:
    """The policy of ``configs/missions/default.yaml``."""
    return MissionPolicy.model_validate(read_yaml(config_dir() / "missions" / "default.yaml"))


async def policy_of(state: State, project_name: str) -> MissionPolicy:
    """The policy that holds in a project: its own, else the shipped one."""
    return await state.call(mission_policies.get, project_name) or shipped_policy()


async def get_policy(services: Services, project_name: str) -> MissionPolicy:
    """The policy that holds in a project."""
    services.require_project(project_name)
    return await policy_of(services.state, project_name)


async def put_policy(
    services: Services,
    project_name: str,
    policy: MissionPolicy,
    by: str,
    key: RequestKey | None = None,
) -> MissionPolicy:
    """Replace a project's policy."""
    services.require_project(project_name)
    once = services.state.once(key)
    return await once.call(mission_policies.put, project_name, policy, by)


async def get_track_record(services: Services, project_name: str) -> TrackRecord:
    """How a project's missions fared; all zeros where there was none."""
    services.require_project(project_name)
    return await services.state.call(track_record.of_project, project_name)
