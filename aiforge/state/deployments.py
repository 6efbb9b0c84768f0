"""Deploying, activating and rolling back: runs of kind ``deploy``, and what their ends mean."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, select

from aiforge.errors import Conflict
from aiforge.schemas.common import Wire, new_id
from aiforge.schemas.models import (
    Engine,
    Model,
    ModelAction,
    ModelStatus,
    Sample,
)
from aiforge.schemas.runs import Resources, Run, RunKind
from aiforge.state import events, models, runs
from aiforge.state.models import model_changes
from aiforge.state.ops import write
from aiforge.state.schema import now

Action = Literal["deploy", "activate", "rollback"]

_FAILED: dict[Action, ModelAction] = {
    "deploy": "deploy_failed",
    "activate": "activation_failed",
    "rollback": "rollback_failed",
}


class DeploySpec(Wire):
    """What a run of kind ``deploy`` works from, frozen when it was queued.

    ``target_id`` is the model that is deployed or becomes active: of a rollback, the one that was
    active before. ``export_id`` names the export to deploy; else it is the newest.
    """

    action: Action
    target_id: str
    engine: Engine
    actor: str
    reason: str | None = None
    export_id: str | None = None


class DeployOutcome(Wire):
    """What was seen to answer, and how it was named there."""

    engine: Engine
    digest: str | None = None
    ollama_name: str | None = None
    prompt_tokens: int
    answer: str
    sample: Sample | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


@write
def deploy(
    connection: Connection,
    model_id: str,
    actor: str,
    reason: str | None,
    resources: Resources,
    export_id: str | None = None,
) -> Run:
    """Queue the deployment of a model to Ollama, of a certain export or the newest one.

    Args:
        export_id: The export to deploy, done or under way; the newest one when absent.

    Raises:
        NotFound: There is no such model.
        Conflict: Something is being done to it.
    """
    model = models.get(connection, model_id)
    spec = DeploySpec(
        action="deploy",
        target_id=model.id,
        engine="ollama",
        actor=actor,
        reason=reason,
        export_id=export_id,
    )
    run = _queue(connection, model, spec, resources)
    if model.status is not ModelStatus.ACTIVE:
        models.change(connection, model.id, ModelStatus.DEPLOYING, error=None, error_code=None)
    return run


@write
def activate(
    connection: Connection, model_id: str, actor: str, reason: str | None, resources: Resources
) -> Run:
    """Queue the activation of a model.

    Raises:
        NotFound: There is no such model.
        Conflict: Something is being done to it, or its project is served by Ollama and it was
            not deployed there (``model_not_deployed``).
    """
    model = models.get(connection, model_id)
    spec = DeploySpec(
        action="activate",
        target_id=model.id,
        engine=_engine(connection, model),
        actor=actor,
        reason=reason,
    )
    return _queue(connection, model, spec, resources)


@write
def rollback(
    connection: Connection, model_id: str, actor: str, reason: str | None, resources: Resources
) -> Run:
    """Queue the return of a project from its active model to the one that was active before.

    Raises:
        NotFound: There is no such model.
        Conflict: It is not active, nothing was active before, or something is being done to it.
    """
    model = models.get(connection, model_id)
    if model.status is not ModelStatus.ACTIVE:
        raise Conflict(
            f"{model.name} is {model.status}; only the active model can be rolled back from.",
            code="model_not_active",
        )
    target = _before(connection, model)
    if target is None:
        raise Conflict(
            f"No other model of {model.project_name!r} was active before {model.name}; activate "
            "the one that you want.",
            code="nothing_to_roll_back_to",
        )
    spec = DeploySpec(
        action="rollback",
        target_id=target.id,
        engine=_engine(connection, target),
        actor=actor,
        reason=reason,
    )
    return _queue(connection, model, spec, resources)


def done(connection: Connection, run: Run, outcome: DeployOutcome) -> None:
    """Apply what a run did, in the transaction that completes it."""
    spec = DeploySpec.model_validate(run.spec)
    if spec.action == "deploy":
        _deployed(connection, run, spec, outcome)
    else:
        _activated(connection, run, spec, outcome)


def stopped(connection: Connection, run: Run, error: str, code: str) -> None:
    """A run failed or was cancelled; what was active is so still."""
    spec = DeploySpec.model_validate(run.spec)
    model = models.get(connection, run.resource_id)
    if model.status is ModelStatus.DEPLOYING:
        if code == "cancelled":
            models.change(connection, model.id, ModelStatus.READY)
        else:
            models.change(connection, model.id, ModelStatus.FAILED, error=error, error_code=code)
    models.record(
        connection,
        _FAILED[spec.action],
        model.id,
        actor=spec.actor,
        reason=spec.reason,
        run_id=run.id,
        error=error,
        errorCode=code,
    )


def _queue(connection: Connection, model: Model, spec: DeploySpec, resources: Resources) -> Run:
    models.require_idle(connection, model)
    return runs.create(
        connection,
        id=new_id("run"),
        kind=RunKind.DEPLOY,
        resource_id=model.id,
        spec=spec.model_dump(mode="json"),
        resources=resources,
    )


def _engine(connection: Connection, model: Model) -> Engine:
    """What is to answer for a model: Ollama, once anything of its project was deployed there.

    So a project's models are never active in two places at once.
    """
    if model.deployed_at is not None:
        return "ollama"
    table = models.models
    query = select(table.c.id).where(
        table.c.project_name == model.project_name,
        table.c.deployed_at.is_not(None),
        table.c.deleted_at.is_(None),
    )
    if connection.execute(query.limit(1)).one_or_none() is None:
        return "llama.cpp"
    raise Conflict(
        f"The models of {model.project_name!r} are served by Ollama, and {model.name} is not "
        "there yet; deploy it first.",
        code="model_not_deployed",
    )


def _deployed(connection: Connection, run: Run, spec: DeploySpec, outcome: DeployOutcome) -> None:
    model = models.get(connection, spec.target_id)
    values = {"digest": outcome.digest, "deployed_at": now(), "error": None, "error_code": None}
    if model.status is ModelStatus.ACTIVE:
        table = models.models
        connection.execute(table.update().where(table.c.id == model.id).values(**values))
    else:
        models.change(connection, model.id, ModelStatus.READY, **values)
    models.record(
        connection,
        "deployed",
        model.id,
        actor=spec.actor,
        reason=spec.reason,
        run_id=run.id,
        **_told(outcome),
    )
    facts = {"projectName": model.project_name, "ollamaName": outcome.ollama_name}
    events.append(connection, "model.deployed", model.id, runId=run.id, **facts)


def _activated(connection: Connection, run: Run, spec: DeploySpec, outcome: DeployOutcome) -> None:
    target = models.get(connection, spec.target_id)
    previous = _active_id(connection, target.project_name)
    moment = {"activated_at": now(), "engine": outcome.engine}
    if previous == target.id:
        table = models.models
        connection.execute(table.update().where(table.c.id == target.id).values(**moment))
    else:
        if previous is not None:
            models.change(connection, previous, ModelStatus.READY)
        models.change(
            connection, target.id, ModelStatus.ACTIVE, error=None, error_code=None, **moment
        )
    models.record(
        connection,
        "activated" if spec.action == "activate" else "rolled_back",
        target.id,
        actor=spec.actor,
        reason=spec.reason,
        run_id=run.id,
        previous_model_id=previous,
        **_told(outcome),
    )
    if spec.action == "rollback":
        facts = {"projectName": target.project_name, "previousModelId": previous}
        events.append(connection, "model.rolled_back", target.id, runId=run.id, **facts)


def _told(outcome: DeployOutcome) -> dict[str, Any]:
    return {
        "engine": outcome.engine,
        "digest": outcome.digest,
        "promptTokens": outcome.prompt_tokens,
        "sample": None if outcome.sample is None else outcome.sample.model_dump(mode="json"),
    }


def _active_id(connection: Connection, project_name: str) -> str | None:
    table = models.models
    query = select(table.c.id).where(
        table.c.project_name == project_name, table.c.status == ModelStatus.ACTIVE
    )
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _before(connection: Connection, model: Model) -> Model | None:
    """The model that was active before this one, as the history tells and rollbacks undid."""
    table = models.models
    columns = model_changes.c
    rows = connection.execute(
        select(columns.action, columns.model_id, table.c.deleted_at)
        .join_from(model_changes, table, table.c.id == columns.model_id)
        .where(
            table.c.project_name == model.project_name,
            columns.action.in_(("activated", "rolled_back")),
        )
        .order_by(columns.sequence)
    )
    stack: list[tuple[str, bool]] = []
    for row in rows:
        if row.action == "rolled_back":
            while stack and stack[-1][0] != row.model_id:
                stack.pop()
            stack = stack or [(row.model_id, row.deleted_at is None)]
        elif not stack or stack[-1][0] != row.model_id:
            stack.append((row.model_id, row.deleted_at is None))
    for model_id, exists in reversed(stack[:-1]):
        if exists and model_id != model.id:
            return models.get(connection, model_id)
    return None
