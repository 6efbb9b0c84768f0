"""Every lifecycle of the platform, declared in one place.

A status changes in one function per resource (``runs.change``, ``sources.change``,
``datasets.change``, ``models.change``, ``exports.change``, ``missions.change`` and
``executions.move``), which asks the lifecycle first and appends the event in the same
transaction. A status without successors is terminal and never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from aiforge.errors import Conflict
from aiforge.schemas.datasets import DatasetStatus
from aiforge.schemas.exports import ExportStatus
from aiforge.schemas.missions import ExecutionStatus, MissionStatus
from aiforge.schemas.models import ModelStatus
from aiforge.schemas.runs import RunStatus
from aiforge.schemas.sources import SourceStatus
from aiforge.schemas.webhooks import DeliveryStatus, WebhookStatus

Status = TypeVar("Status", bound=StrEnum)


@dataclass(frozen=True)
class Lifecycle(Generic[Status]):
    """The statuses of one kind of resource and the steps between them."""

    noun: str
    initial: Status
    steps: Mapping[Status, frozenset[Status]]

    @property
    def terminal(self) -> frozenset[Status]:
        """The statuses that never change."""
        return frozenset(status for status, next_ones in self.steps.items() if not next_ones)

    @property
    def open(self) -> frozenset[Status]:
        """The statuses that something still follows."""
        return frozenset(self.steps) - self.terminal

    def allows(self, current: Status, new: Status) -> bool:
        """Whether a step is declared."""
        return new in self.steps[current]

    def require(self, resource_id: str, current: Status, new: Status) -> None:
        """Refuse a step that is not declared.

        Raises:
            Conflict: The resource is in a status that the new one cannot follow.
        """
        if not self.allows(current, new):
            raise Conflict(
                f"{resource_id} is {current}; it cannot become {new}.",
                code=f"{self.noun}_is_{current}",
                status=str(current),
            )


_R, _D, _S, _M, _E = RunStatus, DatasetStatus, SourceStatus, ModelStatus, ExportStatus

RUN = Lifecycle(
    noun="run",
    initial=_R.QUEUED,
    steps={
        _R.QUEUED: frozenset({_R.RUNNING, _R.CANCELLED, _R.FAILED}),
        _R.RUNNING: frozenset({_R.COMPLETED, _R.FAILED, _R.CANCELLING}),
        # Once a cancellation is acknowledged nothing but it can be the outcome.
        _R.CANCELLING: frozenset({_R.CANCELLED}),
        _R.COMPLETED: frozenset(),
        _R.FAILED: frozenset(),
        _R.CANCELLED: frozenset(),
    },
)

DATASET = Lifecycle(
    noun="dataset",
    initial=_D.GENERATING,
    steps={
        _D.GENERATING: frozenset({_D.READY, _D.FAILED}),
        _D.READY: frozenset(),
        _D.FAILED: frozenset(),
    },
)

SOURCE = Lifecycle(
    noun="source",
    initial=_S.SYNCING,
    steps={
        _S.SYNCING: frozenset({_S.SYNCED, _S.FAILED}),
        # A source is synced again and again.
        _S.SYNCED: frozenset({_S.SYNCING}),
        _S.FAILED: frozenset({_S.SYNCING}),
    },
)

MODEL = Lifecycle(
    noun="model",
    initial=_M.READY,
    steps={
        _M.READY: frozenset({_M.DEPLOYING, _M.ACTIVE}),
        # An active model stays so while it is deployed again, whatever comes of that.
        _M.DEPLOYING: frozenset({_M.READY, _M.FAILED}),
        _M.ACTIVE: frozenset({_M.READY}),
        # Only its deployment failed; the model itself is what it was.
        _M.FAILED: frozenset({_M.DEPLOYING, _M.ACTIVE}),
    },
)

EXPORT = Lifecycle(
    noun="export",
    initial=_E.RUNNING,
    steps={
        _E.RUNNING: frozenset({_E.COMPLETED, _E.FAILED}),
        _E.COMPLETED: frozenset(),
        _E.FAILED: frozenset(),
    },
)

_W, _O = WebhookStatus, DeliveryStatus

WEBHOOK = Lifecycle(
    noun="webhook",
    initial=_W.ACTIVE,
    steps={_W.ACTIVE: frozenset({_W.DISABLED}), _W.DISABLED: frozenset({_W.ACTIVE})},
)

DELIVERY = Lifecycle(
    noun="delivery",
    initial=_O.PENDING,
    steps={
        _O.PENDING: frozenset({_O.DELIVERED, _O.FAILED}),
        # Whatever became of it, it can be replayed.
        _O.DELIVERED: frozenset({_O.PENDING}),
        _O.FAILED: frozenset({_O.PENDING}),
    },
)

MISSION = Lifecycle(
    noun="mission",
    initial=MissionStatus.PENDING_APPROVAL,
    steps={
        MissionStatus.PENDING_APPROVAL: frozenset(
            {MissionStatus.APPROVED, MissionStatus.REJECTED, MissionStatus.SUPERSEDED}
        ),
        MissionStatus.APPROVED: frozenset(),
        MissionStatus.REJECTED: frozenset(),
        MissionStatus.SUPERSEDED: frozenset(),
    },
)

_X = ExecutionStatus

EXECUTION = Lifecycle(
    noun="execution",
    initial=_X.PENDING,
    steps={
        _X.PENDING: frozenset({_X.RUNNING, _X.COMPLETED, _X.FAILED}),
        # Each step of an action is noted before the next one begins.
        _X.RUNNING: frozenset({_X.RUNNING, _X.COMPLETED, _X.FAILED}),
        _X.COMPLETED: frozenset(),
        _X.FAILED: frozenset(),
    },
)
