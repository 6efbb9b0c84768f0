"""Everything that the state refers to in the storage is named as a root."""

from __future__ import annotations

from samples import (
    EXPORTED,
    GENERATED,
    NONE,
    add_dataset,
    add_job,
    add_ready_dataset,
    add_synced_source,
    finish,
)
from samples import generate_run as run_of
from test_missions import raised
from test_registry import train

from aiforge.schemas.exports import ExportRequest
from aiforge.schemas.missions import RecommendedAction
from aiforge.schemas.runs import RunKind
from aiforge.state import artifacts, exports, models, outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.proposals import Expectation
from aiforge.state.references import references
from aiforge.storage import snapshot_dir


def test_an_empty_state_refers_to_nothing(state: LocalState) -> None:
    found = state.call_sync(references)
    assert not any(found.model_dump().values())


def test_sources_datasets_and_their_snapshots_are_roots(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    source = state.call_sync(sources.page, 9, 0).items[0]
    read = state.call_sync(sources.snapshot, source.id)
    assert read is not None
    # The source goes on; what the dataset was built from stays.
    run = state.call_sync(sources.sync, source.id, NONE)
    newer = snapshot_dir(source.id, "def")
    finish(state, run.id, {"revision": "def", "file_count": 1, "skipped_count": 0,
                               "total_bytes": 1, "snapshot": newer})  # fmt: skip

    found = state.call_sync(references)

    assert {source.id, dataset_id} <= found.ids
    assert found.snapshots == {read.path, newer}
    assert not found.building
    assert not found.busy


def test_what_open_runs_name_is_left_alone(state: LocalState) -> None:
    dataset = add_dataset(state)
    found = state.call_sync(references)
    assert found.building == {dataset.id}
    assert found.open_kinds == {RunKind.GENERATE}
    assert {dataset.id, *dataset.source_ids} <= found.busy
    finish(state, run_of(state, dataset.id).id, GENERATED)

    first = add_job(state, dataset.id)
    run = state.call_sync(runs.start, first.id)
    state.call_sync(outcomes.fail, first.id, run.attempt, "x", "broken")
    assert first.id not in state.call_sync(references).ids
    second = add_job(state, dataset.id, resume_from=first.id)

    found = state.call_sync(references)

    assert {first.id, second.id, dataset.id} <= found.busy
    assert found.open_runs == {second.id}


def test_models_exports_and_artifacts_are_roots_until_the_model_is_deleted(
    state: LocalState,
) -> None:
    model = state.call_sync(models.get, train(state))
    export = state.call_sync(exports.create, model.job_id, ExportRequest(), NONE)
    finish(state, run_of(state, export.export_id).id, EXPORTED)
    new = artifacts.NewArtifact(
        owner_id=model.job_id, type="report", name="r", mime_type="text/plain", size=1,
        sha256="ab" * 32, resource_ids=[model.job_id],
    )  # fmt: skip
    state.call_sync(artifacts.record, new)
    for run in state.call_sync(runs.waiting):
        state.call_sync(outcomes.cancel, run.id)

    found = state.call_sync(references)
    assert {model.job_id, model.dataset_id, export.export_id} <= found.ids
    assert found.contents == {"ab" * 32}
    state.call_sync(models.delete, model.id, "me", None)

    after = state.call_sync(references)

    assert not {model.job_id, export.export_id} & after.ids
    assert model.dataset_id in after.ids
    assert after.contents == found.contents


def test_whatever_a_mission_names_is_a_root(state: LocalState) -> None:
    source_id = add_synced_source(state)
    raised(
        state,
        action=RecommendedAction(type="acknowledge", parameters={"a": ["job-9", {"b": "ds-9"}]}),
        expects=Expectation(dataset_id="ds-8", source_revisions={source_id: "old"}),
    )

    found = state.call_sync(references)

    assert {"job-9", "ds-9", "ds-8"} <= found.ids
    assert snapshot_dir(source_id, "old") in found.snapshots


def test_a_failed_export_is_no_root(state: LocalState) -> None:
    model = state.call_sync(models.get, train(state))
    export = state.call_sync(exports.create, model.job_id, ExportRequest(), NONE)
    assert export.export_id in state.call_sync(references).ids
    run = state.call_sync(runs.start, run_of(state, export.export_id).id)
    state.call_sync(outcomes.fail, run.id, run.attempt, "x", "broken")
    assert export.export_id not in state.call_sync(references).ids
