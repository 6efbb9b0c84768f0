"""The model registry."""

from __future__ import annotations

from aiforge.client._flow import Call, Flow, Send
from aiforge.client._flows.common import (
    Page,
    decode,
    fetch,
    fetch_page,
    given,
    post,
    quoted,
    until,
)
from aiforge.errors import Failure
from aiforge.schemas.common import Message
from aiforge.schemas.models import (
    DeployResponse,
    Lineage,
    Model,
    ModelActionResponse,
    ModelChange,
    ModelStatus,
)

SERVER_WAIT = 15.0
"""Seconds that one request waits; a connection that lives longer may be cut."""


def list_(
    *,
    project_name: str | None = None,
    status: ModelStatus | str | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[Page[Model]]:
    """The models, newest first; 50 unless ``limit`` (at most 500) says otherwise."""
    chosen = None if status is None else str(status)
    return fetch_page(
        Model, "/models", projectName=project_name, status=chosen, limit=limit, offset=offset
    )


def get(model_id: str) -> Flow[Model]:
    """One model.

    Raises:
        NotFound: There is none with this id.
    """
    return fetch(Model, f"/models/{quoted(model_id)}")


def active(project_name: str | None = None) -> Flow[Model]:
    """The active model of a project; of all projects the one that was activated last.

    Raises:
        NotFound: None is active.
    """
    return fetch(Model, "/models/active", projectName=project_name)


def lineage(model_id: str) -> Flow[Lineage]:
    """The job, the dataset and the commits that a model comes from."""
    return fetch(Lineage, f"/models/{quoted(model_id)}/lineage")


def history(model_id: str) -> Flow[list[ModelChange]]:
    """What was done to a model, by whom and why, oldest first; also of a deleted one."""
    return fetch(list[ModelChange], f"/models/{quoted(model_id)}/history")


def deploy(
    model_id: str, *, reason: str | None = None, timeout: float | None = None
) -> Flow[Model]:
    """Deploy a model to Ollama, verified there; it is exported first where it was not.

    Args:
        reason: Kept in the model's history.
        timeout: Seconds to wait for the end at most; for ever when absent.

    Raises:
        Unavailable: No Ollama server answers, or it has no room.
        Conflict: Something is being done to the model, or what the server made of it is another.
        Failure: The deployment failed after it had begun; ``code`` and message say why.
        TimeoutError: It takes longer than ``timeout``.
    """
    begun = yield from post(
        DeployResponse,
        f"/models/{quoted(model_id)}/deploy",
        json=given(reason=reason),
        params={"wait": SERVER_WAIT},
        timeout=SERVER_WAIT + 30,
    )
    model = yield from until(
        lambda: get(model_id), lambda m: m.status != ModelStatus.DEPLOYING, timeout, model_id
    )
    if model.status == ModelStatus.FAILED:
        raise Failure(
            model.error or "The deployment failed.", code=model.error_code, runId=begun.run_id
        )
    return model


def activate(
    model_id: str, *, reason: str | None = None, timeout: float | None = None
) -> Flow[Model]:
    """Make a model the active one of its project, once it was seen to answer.

    Args:
        reason: Kept in the model's history.
        timeout: Seconds to wait for the end at most; for ever when absent.

    Raises:
        Conflict: It was not exported or deployed, or it does not answer as it was trained to.
        Unavailable: Its project is served by Ollama, and the server is away.
        TimeoutError: It takes longer than ``timeout``.
    """
    return _act(model_id, "activate", reason, timeout)


def rollback(
    model_id: str, *, reason: str | None = None, timeout: float | None = None
) -> Flow[Model]:
    """Return from the active model to the version that was active before; that one is returned.

    Args:
        reason: Kept in the history.
        timeout: Seconds to wait for the end at most; for ever when absent.

    Raises:
        Conflict: The model is not active, or nothing was active before it.
        Unavailable: Its project is served by Ollama, and the server is away.
        TimeoutError: It takes longer than ``timeout``.
    """
    return _act(model_id, "rollback", reason, timeout)


def _act(model_id: str, action: str, reason: str | None, timeout: float | None) -> Flow[Model]:
    done = yield from post(
        ModelActionResponse,
        f"/models/{quoted(model_id)}/{action}",
        json=given(reason=reason),
        params={"wait": SERVER_WAIT},
        timeout=SERVER_WAIT + 30,
    )
    settled = yield from until(
        lambda: _settled(model_id, done.run_id),
        lambda change: change is not None,
        timeout,
        model_id,
    )
    if settled is not None and settled.action not in ("activated", "rolled_back"):
        raise Failure(
            str(settled.detail.get("error") or f"To {action} {model_id} failed."),
            code=settled.detail.get("errorCode"),
            runId=done.run_id,
        )
    return (yield from get(done.model_id))


def _settled(model_id: str, run_id: str) -> Flow[ModelChange | None]:
    """The entry of the history that a run's end left, once it is there."""
    changes = yield from history(model_id)
    return next((change for change in reversed(changes) if change.run_id == run_id), None)


def delete(model_id: str, *, reason: str | None = None) -> Flow[Message]:
    """Delete a model that is not active; its history stays.

    Raises:
        Conflict: It is active, or something is being done to it.
    """
    path = f"/models/{quoted(model_id)}"
    response = yield Send(Call("DELETE", path, params=given(reason=reason)))
    return decode(Message, response)
