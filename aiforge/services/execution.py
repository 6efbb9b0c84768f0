"""Carrying out what was approved: one step at a time, each of them once.

Every step is a write with a request key made from the mission's id, and is noted on the mission
before the next one begins. So whatever dies, and whoever repeats it, a mission starts at most one
build, one training, one deployment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiforge import logs
from aiforge.errors import AIForgeError, Unavailable
from aiforge.schemas.access import LOCAL, Origin
from aiforge.schemas.datasets import DatasetStatus, GenerateRequest
from aiforge.schemas.exports import ExportRequest, ExportStatus
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.missions import Execution, ExecutionStatus, MissionDetail
from aiforge.schemas.models import ModelActionRequest
from aiforge.schemas.runs import RunStatus
from aiforge.services import datasets as dataset_service
from aiforge.services import exports as export_service
from aiforge.services import jobs as job_service
from aiforge.services import models as model_service
from aiforge.services.context import Services
from aiforge.state import datasets, executions, exports, models, runs
from aiforge.state.store import RequestKey

_ENDED = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class Executor:
    """Moves approved missions forward; holds nothing between two calls."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def advance(self, mission: MissionDetail) -> MissionDetail:
        """Take as many steps as can be taken without waiting for a run.

        Raises:
            Unavailable: Something that the step depends on is away; a later call takes it again.
        """
        while mission.execution is not None:
            moved = await self._step(mission, mission.execution)
            if moved is None or moved.execution == mission.execution:
                return mission
            mission = moved
        return mission

    async def _step(self, mission: MissionDetail, execution: Execution) -> MissionDetail | None:
        """The mission after one step; ``None`` where there is something to wait for, or nothing."""
        if execution.status in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED):
            return None
        steps = _STEPS[mission.recommended_action.type]
        acting = Executor(self._services.on_behalf(LOCAL, _origin(mission)))
        try:
            with logs.about(request=mission.id):
                after = await steps[execution.step](acting, mission, execution)
        except Unavailable:
            raise
        except AIForgeError as error:
            after = _failed(execution, error.message, error.code)
        if after is None:
            return None
        return await self._state.call(executions.move, mission.id, execution.step, after)

    def _key(self, mission: MissionDetail, step: str) -> RequestKey:
        return RequestKey(f"{mission.id}:{step}")

    async def _build(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        request = GenerateRequest.model_validate(mission.recommended_action.parameters["dataset"])
        made = await dataset_service.generate(
            self._services, request, self._key(mission, "dataset")
        )
        return _running(execution, "building the dataset", dataset_id=made.dataset_id)

    async def _train(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        dataset = await self._state.call(datasets.get, str(execution.dataset_id))
        if dataset.status is DatasetStatus.GENERATING:
            return None
        if dataset.status is DatasetStatus.FAILED:
            return _failed(
                execution, f"{dataset.id} failed: {dataset.error}", dataset.error_code or "failed"
            )
        request = FineTuneRequest.model_validate(
            mission.recommended_action.parameters["training"] | {"datasetId": dataset.id}
        )
        started = await job_service.fine_tune(
            self._services, request, self._key(mission, "training")
        )
        return _running(execution, "training", job_id=started.job_id)

    async def _trained(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        run = await self._state.call(runs.get, str(execution.job_id))
        if run.status not in _ENDED:
            return None
        if run.status is not RunStatus.COMPLETED:
            return _failed(execution, f"{run.id} is {run.status}: {run.error}", run.error_code)
        model = await self._state.call(models.of_job, run.id)
        return _completed(execution, model_id=model.id if model else None)

    async def _export(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        model = await self._state.call(models.get, _model_id(mission))
        export = await export_service.create(
            self._services,
            model.job_id,
            ExportRequest(),
            0.0,
            _who(mission),
            self._key(mission, "export"),
        )
        return _running(execution, "exporting", model_id=model.id, run_id=export.export_id)

    async def _exported(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        export = await self._state.call(exports.get, str(execution.run_id))
        if export.status is ExportStatus.RUNNING:
            return None
        if export.status is not ExportStatus.COMPLETED:
            return _failed(
                execution, f"{export.export_id} failed: {export.error}", export.error_code
            )
        if (await self._services.probes.ollama()).status != "running":
            return await self._activate(mission, execution)
        deployed = await model_service.deploy(
            self._services,
            _model_id(mission),
            _reason(mission),
            _who(mission),
            0.0,
            self._key(mission, "deployment"),
        )
        return _running(execution, "deploying", run_id=deployed.run_id)

    async def _deployed(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        ended = await self._ended(execution)
        return await self._activate(mission, execution) if ended is True else ended or None

    async def _activate(self, mission: MissionDetail, execution: Execution) -> Execution:
        activated = await model_service.activate(
            self._services,
            _model_id(mission),
            _reason(mission),
            _who(mission),
            0.0,
            self._key(mission, "activation"),
        )
        return _running(execution, "activating", run_id=activated.run_id)

    async def _roll_back(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        rolled = await model_service.rollback(
            self._services,
            _model_id(mission),
            _reason(mission),
            _who(mission),
            0.0,
            self._key(mission, "rollback"),
        )
        return _running(execution, "rolling back", model_id=rolled.model_id, run_id=rolled.run_id)

    async def _done(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        ended = await self._ended(execution)
        return _completed(execution) if ended is True else ended or None

    async def _ended(self, execution: Execution) -> Execution | bool:
        """Whether the run of a step completed; the failed execution where it ended otherwise."""
        run = await self._state.call(runs.get, str(execution.run_id))
        if run.status not in _ENDED:
            return False
        if run.status is RunStatus.COMPLETED:
            return True
        return _failed(execution, f"{run.id} is {run.status}: {run.error}", run.error_code)

    async def _acknowledge(self, mission: MissionDetail, execution: Execution) -> Execution | None:
        return _completed(execution)


Step = Callable[[Executor, MissionDetail, Execution], Awaitable[Execution | None]]

_STEPS: dict[str, dict[str | None, Step]] = {
    "start_training": {
        None: Executor._build,
        "building the dataset": Executor._train,
        "training": Executor._trained,
    },
    "deploy_model": {
        None: Executor._export,
        "exporting": Executor._exported,
        "deploying": Executor._deployed,
        "activating": Executor._done,
    },
    "rollback_model": {None: Executor._roll_back, "rolling back": Executor._done},
    "acknowledge": {None: Executor._acknowledge},
}


def _origin(mission: MissionDetail) -> Origin:
    """What a mission begins goes back to it: in the audit trail, and in every line of its runs."""
    return Origin(
        principal="mission",
        principal_name=_who(mission),
        action=f"execute {mission.id}",
        request_id=mission.id,
    )


def _who(mission: MissionDetail) -> str:
    return mission.decision.by if mission.decision else "unknown"


def _model_id(mission: MissionDetail) -> str:
    return str(mission.recommended_action.parameters["modelId"])


def _reason(mission: MissionDetail) -> ModelActionRequest:
    return ModelActionRequest(reason=f"{mission.id}: {mission.title}")


def _running(execution: Execution, step: str, **facts: Any) -> Execution:
    values = {"status": ExecutionStatus.RUNNING, "step": step, **facts}
    return execution.model_copy(update=values)


def _completed(execution: Execution, **facts: Any) -> Execution:
    return execution.model_copy(update={"status": ExecutionStatus.COMPLETED, **facts})


def _failed(execution: Execution, error: str, code: str | None) -> Execution:
    return execution.model_copy(
        update={"status": ExecutionStatus.FAILED, "error": error, "error_code": code or "failed"}
    )
