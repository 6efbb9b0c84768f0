"""Missions: what the platform proposes, and what a person decides."""

from __future__ import annotations

from typing import Any

from aiforge.client._flow import Call, Flow, Send
from aiforge.client._flows.common import decode, fetch, given, post, quoted, until
from aiforge.errors import Failure
from aiforge.schemas.common import Message
from aiforge.schemas.missions import (
    ExecutionStatus,
    MissionDetail,
    MissionList,
    MissionPolicy,
    MissionStatus,
    MissionType,
    TrackRecord,
)


def list_(
    *,
    status: MissionStatus | str | None = None,
    type: MissionType | None = None,
    project_name: str | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[MissionList]:
    """One page of missions, newest first, with the number of those that wait for a decision."""
    return fetch(
        MissionList,
        "/missions",
        status=status,
        type=type,
        projectName=project_name,
        limit=limit,
        offset=offset,
    )


def get(mission_id: str) -> Flow[MissionDetail]:
    """One mission with its evidence, its action, and what came of it.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(MissionDetail, f"/missions/{quoted(mission_id)}")


def approve(
    mission_id: str, *, comment: str | None = None, version: int | None = None
) -> Flow[Message]:
    """Approve a mission; the platform then carries out its action, once.

    Args:
        version: Of the mission as you saw it; newer evidence is refused then.

    Raises:
        Conflict: It is decided already, or the world has moved since it was proposed.
    """
    body = given(comment=comment, version=version)
    return post(Message, f"/missions/{quoted(mission_id)}/approve", json=body)


def reject(mission_id: str, reason: str) -> Flow[Message]:
    """Reject a mission; the same is proposed again only once its evidence has grown.

    Raises:
        Conflict: It is decided already.
    """
    return post(Message, f"/missions/{quoted(mission_id)}/reject", json={"reason": reason})


def wait(
    mission_id: str, *, timeout: float | None = None, check: bool = True
) -> Flow[MissionDetail]:
    """The mission as soon as nothing more will happen to it: rejected, superseded, or executed.

    Args:
        timeout: Seconds to wait at most; for ever when absent.
        check: Raise if its execution failed.

    Raises:
        Failure: The execution failed; ``code`` and message say why.
        TimeoutError: It takes longer than ``timeout``.
    """
    mission = yield from until(lambda: get(mission_id), _is_over, timeout, mission_id)
    execution = mission.execution
    if check and execution is not None and execution.status == ExecutionStatus.FAILED:
        raise Failure(
            execution.error or "The mission could not be carried out.",
            code=execution.error_code,
            missionId=mission.id,
        )
    return mission


def _is_over(mission: MissionDetail) -> bool:
    if mission.execution is None:
        return mission.status in (MissionStatus.REJECTED, MissionStatus.SUPERSEDED)
    return mission.execution.status in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED)


def policy(project_name: str) -> Flow[MissionPolicy]:
    """What is watched in a project."""
    return fetch(MissionPolicy, f"/projects/{quoted(project_name)}/mission-policy")


def set_policy(project_name: str, policy: MissionPolicy) -> Flow[MissionPolicy]:
    """Replace what is watched in a project."""
    body: dict[str, Any] = policy.model_dump(mode="json")
    path = f"/projects/{quoted(project_name)}/mission-policy"
    response = yield Send(Call("PUT", path, json=body))
    return decode(MissionPolicy, response)


def track_record(project_name: str) -> Flow[TrackRecord]:
    """How a project's missions fared."""
    return fetch(TrackRecord, f"/projects/{quoted(project_name)}/track-record")
