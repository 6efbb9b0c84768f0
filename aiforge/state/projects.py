"""Which sources and datasets belong to which projects.

A job names its project. Sources and datasets have none of their own: one that a credential bound
to projects creates belongs to those, and a dataset belongs to each project that trains on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, String, Table, select, text

from aiforge.state.prepared import Prepared
from aiforge.state.schema import metadata

resource_projects = Table(
    "resource_projects",
    metadata,
    Column("resource_id", String(64), primary_key=True),
    Column("project_name", String(100), primary_key=True),
)

_CLAIMED = ("src-", "ds-")
_CLAIM = Prepared(
    text(
        "INSERT INTO resource_projects (resource_id, project_name) "
        "VALUES (:resource_id, :project_name) ON CONFLICT DO NOTHING"
    )
)


def claim(connection: Connection, resource_ids: Iterable[str], projects: Sequence[str]) -> None:
    """Have sources and datasets belong to projects, too; other resources are left alone."""
    for one in resource_ids:
        if one.startswith(_CLAIMED):
            for project in projects:
                _CLAIM(connection, {"resource_id": one, "project_name": project})


def owned(
    column: ColumnElement[Any], projects: Collection[str] | None
) -> list[ColumnElement[bool]]:
    """Conditions under which an id belongs to one of the projects; none for ``None``."""
    if projects is None:
        return []
    table = resource_projects
    ids = select(table.c.resource_id).where(table.c.project_name.in_(projects))
    return [column.in_(ids)]
