"""Which sources and datasets belong to which projects.

A job names its project. Sources and datasets have none of their own: one that a credential bound
to projects creates belongs to those, and a dataset belongs to each project that trains on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, String, Table, bindparam, select

from aiforge.state.schema import metadata

resource_projects = Table(
    "resource_projects",
    metadata,
    Column("resource_id", String(64), primary_key=True),
    Column("project_name", String(100), primary_key=True),
)

_KNOWN = select(resource_projects).where(
    resource_projects.c.resource_id.in_(bindparam("ids", expanding=True))
)
_CLAIMED = ("src-", "ds-")


def claim(connection: Connection, resource_ids: Iterable[str], projects: Sequence[str]) -> None:
    """Have sources and datasets belong to projects, too; other resources are left alone."""
    ids = [one for one in resource_ids if one.startswith(_CLAIMED)]
    if not ids:
        return
    table = resource_projects
    known = connection.execute(_KNOWN, {"ids": ids})
    there = {(row.resource_id, row.project_name) for row in known}
    wanted = {(one, project) for one in ids for project in projects}
    rows = [
        {"resource_id": one, "project_name": project} for one, project in sorted(wanted - there)
    ]
    if rows:
        connection.execute(table.insert(), rows)


def owned(
    column: ColumnElement[Any], projects: Collection[str] | None
) -> list[ColumnElement[bool]]:
    """Conditions under which an id belongs to one of the projects; none for ``None``."""
    if projects is None:
        return []
    table = resource_projects
    ids = select(table.c.resource_id).where(table.c.project_name.in_(projects))
    return [column.in_(ids)]
