"""Approving a mission: only while the world is still as the mission was shown."""

from __future__ import annotations

from sqlalchemy import Connection, select

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.datasets import DatasetStatus
from aiforge.schemas.missions import Decision, MissionDetail, MissionStatus
from aiforge.schemas.models import ModelStatus
from aiforge.state import datasets, lifecycles, missions, models, proposals, sources
from aiforge.state.ops import write
from aiforge.state.proposals import Expectation


@write
def approve(
    connection: Connection, mission_id: str, decision: Decision, version: int | None = None
) -> MissionDetail:
    """Approve a mission, or supersede it where the world has moved since it was proposed.

    Args:
        version: Of the mission as it was shown; another one is refused.

    Returns:
        The mission, ``approved`` or ``superseded`` with the reason.

    Raises:
        NotFound: There is no such mission.
        Conflict: It is decided already, or its evidence changed since that version.
    """
    row = missions.row_of(connection, mission_id)
    status = MissionStatus(row.status)
    lifecycles.MISSION.require(mission_id, status, MissionStatus.APPROVED)
    if version is not None and version != row.version:
        raise Conflict(
            f"{mission_id} has new evidence since version {version}; look at version "
            f"{row.version} before you approve it.",
            code="mission_changed",
            version=row.version,
        )
    moved = _moved(connection, row.project_name, Expectation.model_validate(row.expects))
    if moved is None:
        missions.accept(connection, mission_id, decision)
    else:
        missions.supersede(connection, mission_id, moved)
    return missions.get(connection, mission_id)


def _moved(connection: Connection, project_name: str, expects: Expectation) -> str | None:
    """What is no longer as a mission takes for granted, or ``None``."""
    if expects.active_model_id is not None:
        active = _active(connection, project_name)
        if active != expects.active_model_id:
            return f"The active model is {active or 'none'} now."
    if expects.dataset_id is not None and not _is_ready(connection, expects.dataset_id):
        return f"The dataset {expects.dataset_id} is gone."
    if expects.model_id is not None and not _can_serve(connection, expects.model_id):
        return f"The model {expects.model_id} is gone or has failed."
    known = select(*sources.sources.c["id", "revision"])
    revisions = {row.id: row.revision for row in connection.execute(known)}
    for source_id, revision in expects.source_revisions.items():
        if revisions.get(source_id) != revision:
            return f"The source {source_id} has moved on from {revision[:12]}."
    return None


def _active(connection: Connection, project_name: str) -> str:
    try:
        return models.active(connection, project_name).id
    except NotFound:
        return proposals.NO_MODEL


def _is_ready(connection: Connection, dataset_id: str) -> bool:
    try:
        return datasets.get(connection, dataset_id).status is DatasetStatus.READY
    except NotFound:
        return False


def _can_serve(connection: Connection, model_id: str) -> bool:
    try:
        return models.get(connection, model_id).status is not ModelStatus.FAILED
    except NotFound:
        return False
