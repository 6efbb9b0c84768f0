"""``aiforge mission``: what the platform proposes, and what you decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiforge.cli import policy
from aiforge.cli.artifact import render
from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import ago, facts, figure, table
from aiforge.cli.source import Limit, Offset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.schemas.missions import MissionDetail, TrackRecord

app = group("Missions: what the platform proposes, and what you decide.", "aiforge mission list")

MissionId = Annotated[str, typer.Argument(metavar="MISSION", help="Id of a mission, as mission-…")]


@command(
    app,
    "list",
    examples="""
    aiforge mission list
    aiforge mission list --status pending_approval --type retrain
    """,
)
def list_(
    cli: Cli,
    status: Annotated[
        str | None,
        typer.Option("--status", help="pending_approval, approved, rejected, superseded."),
    ] = None,
    type: Annotated[str | None, typer.Option("--type", help="retrain, deploy, alert.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="Only of this project.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> None:
    """List missions, newest first."""
    page = cli.forge.missions.list(
        status=status,
        type=type,  # type: ignore[arg-type]
        project_name=project,
        limit=limit,
        offset=offset,
    )
    cli.show(
        page,
        table(
            page.missions,
            [
                ("ID", lambda m: m.id),
                ("TITLE", lambda m: m.title),
                ("TYPE", lambda m: m.type),
                ("STATUS", lambda m: str(m.status)),
                ("PRIORITY", lambda m: m.priority),
                ("CONFIDENCE", lambda m: f"{m.confidence}%"),
                ("CREATED", lambda m: ago(m.created_at)),
            ],
            "No missions. They come when new commits, a better version, or trouble is found.",
        ),
    )
    if not cli.as_json and page.pending:
        cli.say(f"{page.pending} wait for you: aiforge mission show MISSION")


@command(app, "show", examples="aiforge mission show mission-…")
def show(cli: Cli, mission_id: MissionId) -> None:
    """Show a mission with its evidence and charts."""
    mission = cli.forge.missions.get(mission_id)
    cli.show(mission, _details(mission))
    if cli.as_json:
        return
    for link in mission.artifacts:
        cli.say("")
        if link.type not in ("chart", "report"):
            cli.say(f"{link.name}: aiforge artifact show {link.id}")
            continue
        content = cli.forge.artifacts.content(link.id)
        render(cli.console, link.type, link.name, content)


@command(
    app,
    "approve",
    examples="""
    aiforge mission approve mission-… --comment "Looks good"
    aiforge mission approve mission-… --wait
    """,
)
def approve(
    cli: Cli,
    mission_id: MissionId,
    comment: Annotated[str | None, typer.Option("--comment", help="Kept with it.")] = None,
    version: Annotated[
        int | None, typer.Option("--version", help="The evidence that you looked at.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until its action is done.")] = False,
) -> None:
    """Approve a mission; its action is then carried out, once."""
    message = cli.forge.missions.approve(mission_id, comment=comment, version=version)
    if not wait:
        cli.show(message, lambda console: console.print(f"{mission_id}: {message.message}"))
        return
    cli.say(f"{mission_id}: {message.message}; waiting until it is carried out")
    mission = cli.forge.missions.wait(mission_id)
    cli.show(mission, _details(mission))


@command(app, "reject", examples='aiforge mission reject mission-… --reason "Not enough new code"')
def reject(
    cli: Cli,
    mission_id: MissionId,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the mission.")],
) -> None:
    """Reject a mission; the same comes again only once its evidence has grown."""
    message = cli.forge.missions.reject(mission_id, reason)
    cli.show(message, lambda console: console.print(f"{mission_id}: {message.message}"))


policy.register(app)


@command(app, "record", examples="aiforge mission record myproject")
def record(cli: Cli, project: policy.ProjectName) -> None:
    """Show how a project's missions fared."""
    found = cli.forge.missions.track_record(project)
    cli.show(found, _record(found))


def _details(mission: MissionDetail) -> Callable[[Console], None]:
    decision, execution, outcome = mission.decision, mission.execution, mission.outcome
    pairs: list[tuple[str, str | None]] = [
        ("id", f"{mission.id} (version {mission.version})"),
        ("title", mission.title),
        ("status", str(mission.status)),
        ("project", mission.project_name),
        ("priority", mission.priority),
        ("confidence", f"{mission.confidence}%"),
        ("trigger", mission.reasoning.trigger),
        ("analysis", mission.reasoning.analysis),
        ("expected", mission.reasoning.expected_outcome),
        ("action", mission.recommended_action.type),
        ("because", mission.superseded_because),
    ]
    if decision is not None:
        pairs.append(("decided", f"by {decision.by} {ago(decision.at)}"))
        pairs.append(("comment", decision.comment))
    if execution is not None:
        pairs.append(("execution", " · ".join(filter(None, (execution.status, execution.step)))))
        pairs.append(("dataset", execution.dataset_id))
        pairs.append(("job", execution.job_id))
        pairs.append(("model", execution.model_id))
        pairs.append(("error", execution.error))
    if outcome is not None:
        change = f"{figure(outcome.before, 2)} → {figure(outcome.after, 2)}"
        pairs.append(("outcome", f"{outcome.metric} {change}"))
    return facts(pairs)


def _record(record: TrackRecord) -> Callable[[Console], None]:
    change = record.mean_relative_change
    return facts(
        [
            ("project", record.project_name),
            ("proposed", str(record.proposed)),
            ("approved", str(record.approved)),
            ("rejected", str(record.rejected)),
            ("superseded", str(record.superseded)),
            ("executed", f"{record.executed} ({record.failed} failed)"),
            ("as expected", f"{record.met} of {len(record.outcomes)} that were measured"),
            ("mean change", None if change is None else f"{change:+.1%}"),
        ]
    )
