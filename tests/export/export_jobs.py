"""Jobs that have completed, exports that are queued, and drivers that carry them out."""

from __future__ import annotations

from pathlib import Path

from aiforge.runtime.drivers import Driver
from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest
from aiforge.schemas.exports import Export, ExportRequest
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import Resources
from aiforge.settings import Settings
from aiforge.state import datasets, exports, jobs, outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.storage import Storage, adapter_dir

NONE = Resources()
SYNCED = {
    "revision": "abc",
    "file_count": 1,
    "skipped_count": 0,
    "total_bytes": 1,
    "snapshot": "sources/s/snapshots/abc",
}
GENERATED = {"train_count": 9, "validation_count": 1, "chunk_count": 4}
TRAINED = {"steps": 3, "final_loss": 1.5}


def end(state: LocalState, run_id: str, result: dict[str, object]) -> None:
    state.call_sync(runs.start, run_id)
    state.call_sync(outcomes.complete, run_id, 1, result)


def queued_job(state: LocalState, method: str = "pissa") -> str:
    new = sources.NewSource(
        id=new_id("src"), name="s", type="git", include_patterns=[], exclude_patterns=[]
    )
    end(state, state.call_sync(sources.create, new, NONE).parsing_job_id, SYNCED)
    request = GenerateRequest(name="d", source_ids=[new.id])
    dataset = state.call_sync(datasets.create, request, NONE)
    (run,) = state.call_sync(runs.waiting)
    end(state, run.id, GENERATED)
    wanted = FineTuneRequest(
        project_name="Phi3 project", dataset_id=dataset.id, base_model="forge-tiny", method=method
    )
    return state.call_sync(jobs.create, wanted, NONE).id


def completed_job(state: LocalState, storage: Storage, adapter: Path) -> str:
    """A job that has completed and left an adapter."""
    created = queued_job(state)
    storage.upload(adapter, adapter_dir(created))
    end(state, created, TRAINED)
    for run in state.call_sync(runs.waiting):
        # Whatever follows a training by itself.
        state.call_sync(outcomes.cancel, run.id)
    return created


def queue(state: LocalState, job_id: str, quantization: str | None = "q8_0", **more: str) -> Export:
    request = ExportRequest.model_validate({"quantization": quantization, **more})
    return state.call_sync(exports.create, job_id, request, NONE)


def run_of(state: LocalState, export: Export) -> str:
    under_way = state.call_sync(runs.waiting) + state.call_sync(runs.active)
    return next(run.id for run in under_way if run.resource_id == export.export_id)


def carry_out(state: LocalState, settings: Settings, export: Export) -> Export:
    run_id = run_of(state, export)
    state.call_sync(runs.start, run_id)
    assert Driver(settings, run_id, 1, state=state).join(120)
    return state.call_sync(exports.get, export.export_id)
