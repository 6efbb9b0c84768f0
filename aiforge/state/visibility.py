"""What credentials that are bound to projects may see of the resources that an id names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from aiforge.state import artifacts, exports, jobs, missions, models
from aiforge.state.ops import read
from aiforge.state.projects import resource_projects

Query = Callable[[str, Sequence[str]], Select[Any]]


def _claimed(resource_id: str, projects: Sequence[str]) -> Select[Any]:
    table = resource_projects
    return select(table.c.resource_id).where(
        table.c.resource_id == resource_id, table.c.project_name.in_(projects)
    )


def _job(job_id: str, projects: Sequence[str]) -> Select[Any]:
    table = jobs.jobs
    return select(table.c.id).where(table.c.id == job_id, table.c.project_name.in_(projects))


def _model(model_id: str, projects: Sequence[str]) -> Select[Any]:
    table = models.models
    return select(table.c.id).where(table.c.id == model_id, table.c.project_name.in_(projects))


def _export(export_id: str, projects: Sequence[str]) -> Select[Any]:
    table = exports.exports
    of_job = jobs.jobs.c.id == table.c.job_id
    query = select(table.c.id).join(jobs.jobs, of_job)
    return query.where(table.c.id == export_id, jobs.jobs.c.project_name.in_(projects))


def _mission(mission_id: str, projects: Sequence[str]) -> Select[Any]:
    table = missions.missions
    found = select(table.c.id).where(table.c.id == mission_id)
    return found.where(table.c.project_name.in_(projects))


_QUERIES: Mapping[str, Query] = {
    "src": _claimed,
    "ds": _claimed,
    "job": _job,
    "model": _model,
    "export": _export,
    "mission": _mission,
}


@read
def allowed(connection: Connection, resource_id: str, projects: Sequence[str]) -> bool:
    """Whether a resource belongs to one of the projects.

    One that does not exist does not, so that it cannot be told from one of another project. An
    artifact belongs where anything that it is about does.
    """
    kind = resource_id.partition("-")[0]
    if kind == "art":
        table = artifacts.artifact_resources
        about = select(table.c.resource_id).where(table.c.artifact_id == resource_id)
        found = connection.execute(about).scalars().all()
        return any(allowed(connection, one, projects) for one in found if not _is_artifact(one))
    query = _QUERIES.get(kind)
    if query is None:
        return False
    return connection.execute(query(resource_id, projects)).first() is not None


def _is_artifact(resource_id: str) -> bool:
    return resource_id.startswith("art-")
