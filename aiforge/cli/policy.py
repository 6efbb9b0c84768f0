"""``aiforge mission policy``: what is watched in a project, and what needs no person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiforge.cli.frame import Cli, command
from aiforge.cli.output import facts

if TYPE_CHECKING:
    from aiforge.schemas.missions import MissionPolicy, Watcher

NONE = "none"

ProjectName = Annotated[str, typer.Argument(metavar="PROJECT", help="Name of a project.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "policy",
        examples="""
        aiforge mission policy myproject --json
        aiforge mission policy myproject --on retrain --off alert --threshold 80
        aiforge mission policy myproject --quiet 22:00-07:00 --set drift_margin=0.1
        aiforge mission policy myproject --auto-approve retrain --auto-threshold 97 --daily-limit 2
        aiforge mission policy myproject --quiet none --auto-approve none
        """,
    )(policy)


def policy(
    cli: Cli,
    project: ProjectName,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="Watch for it: a watcher, or a type such as alert."),
    ] = None,
    off: Annotated[
        list[str] | None, typer.Option("--off", help="Don't watch for it any more.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option("--threshold", help="Least confidence of a proposal, in percent.")
    ] = None,
    quiet: Annotated[
        str | None,
        typer.Option("--quiet", help="Hours of silence in UTC, as 22:00-07:00, or none."),
    ] = None,
    auto_approve: Annotated[
        list[str] | None,
        typer.Option("--auto-approve", help="Needs no person: a watcher; none for no one."),
    ] = None,
    auto_threshold: Annotated[
        int | None, typer.Option("--auto-threshold", help="Least confidence for that, in percent.")
    ] = None,
    daily_limit: Annotated[
        int | None, typer.Option("--daily-limit", help="Most such approvals in 24 hours.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other value that is shown."),
    ] = None,
) -> None:
    """Show what is watched in a project, or change what is given and show it then."""
    found = cli.forge.missions.policy(project)
    automatic = {
        "watchers": None if auto_approve is None else _watchers(auto_approve),
        "min_confidence": auto_threshold,
        "daily_limit": daily_limit,
    }
    changes: dict[str, Any] = _values(values or [])
    if on or off:
        changes["watchers"] = _switched(found, _watchers(on or []), _watchers(off or []))
    if threshold is not None:
        changes["min_confidence"] = threshold
    if quiet is not None:
        changes["quiet_hours"] = _hours(quiet)
    if any(value is not None for value in automatic.values()):
        given = {name: value for name, value in automatic.items() if value is not None}
        changes["auto_approval"] = found.auto_approval.model_dump(by_alias=False) | given
    if changes:
        found = cli.forge.missions.set_policy(project, _changed(found, changes))
    cli.show(found, facts(_pairs(found)))


def _watchers(names: Sequence[str]) -> list[Watcher]:
    """The watchers of some names, each its own or that of a type of missions."""
    from aiforge.schemas.missions import MISSION_TYPES

    chosen: list[Watcher] = []
    for name in names:
        mine = [one for one, type in MISSION_TYPES.items() if name in (one, type)]
        if not mine and name != NONE:
            known = ", ".join(dict.fromkeys([*MISSION_TYPES, *MISSION_TYPES.values()]))
            raise typer.BadParameter(f"{name!r} is none of {known}")
        chosen += mine
    return chosen


def _switched(found: MissionPolicy, on: list[Watcher], off: list[Watcher]) -> list[Watcher]:
    if both := sorted(set(on) & set(off)):
        raise typer.BadParameter(f"{', '.join(both)} cannot be both on and off")
    return [one for one in dict.fromkeys([*found.watchers, *on]) if one not in off]


def _hours(text: str) -> dict[str, str] | None:
    if text == NONE:
        return None
    start, dash, end = text.partition("-")
    if not dash:
        raise typer.BadParameter(f"{text!r} is no span of hours; write it as 22:00-07:00")
    return {"start": start.strip(), "end": end.strip()}


def _values(assignments: Sequence[str]) -> dict[str, Any]:
    """Numbers of a policy by their names."""
    from aiforge.schemas.missions import MissionPolicy

    own = {"watchers", "quiet_hours", "auto_approval"}
    known = [name for name in MissionPolicy.model_fields if name not in own]
    given = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}")
        try:
            given[name] = json.loads(value)
        except ValueError:
            raise typer.BadParameter(f"{assignment!r}: {value!r} is no number") from None
    return given


def _changed(found: MissionPolicy, changes: dict[str, Any]) -> MissionPolicy:
    from pydantic import ValidationError

    from aiforge.schemas.missions import MissionPolicy

    body = found.model_dump(mode="json", by_alias=False) | changes
    try:
        return MissionPolicy.model_validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{where}: {message}" if where else message) from None


def _pairs(policy: MissionPolicy) -> list[tuple[str, str | None]]:
    shown = policy.model_dump(mode="json", by_alias=False)
    hours, automatic = policy.quiet_hours, policy.auto_approval
    told = {
        "watchers": ", ".join(policy.watchers) or NONE,
        "quiet_hours": f"{hours.start:%H:%M}-{hours.end:%H:%M} UTC" if hours else NONE,
        "auto_approval": f"{', '.join(automatic.watchers)} from {automatic.min_confidence}%, "
        f"at most {automatic.daily_limit} in 24 hours"
        if automatic.watchers
        else NONE,
    }
    return [(name, told.get(name, str(value))) for name, value in shown.items()]
