"""What each operation does, on every database."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError
from samples import (
    GENERATED,
    NONE,
    SYNCED,
    TRAINED,
    add_dataset,
    add_job,
    add_ready_dataset,
    add_source,
    add_synced_source,
    fine_tune,
    finish,
    generate_run,
    line,
    new_source,
    point,
)

from aiforge.errors import Conflict, InvalidInput, NotFound
from aiforge.schemas.datasets import DatasetStatus, GenerateRequest
from aiforge.schemas.runs import Resources, RunStatus
from aiforge.schemas.sources import SourceStatus
from aiforge.state import datasets, events, jobs, logs, outcomes, removals, runs, sources
from aiforge.state.access import LocalState


def test_a_source_is_read_again_and_again(state: LocalState) -> None:
    source_id = add_synced_source(state)
    first = state.call_sync(sources.get, source_id)
    assert (first.status, first.file_count, first.progress) == (SourceStatus.SYNCED, 3, 100.0)
    run = state.call_sync(sources.sync, source_id, NONE)
    assert state.call_sync(sources.get, source_id).status is SourceStatus.SYNCING
    with pytest.raises(Conflict) as refused:
        state.call_sync(sources.sync, source_id, NONE)
    assert refused.value.detail["runId"] == run.id
    finish(state, run.id, SYNCED | {"revision": "def", "file_count": 4})
    again = state.call_sync(sources.get, source_id)
    assert (again.revision, again.file_count, again.status) == ("def", 4, SourceStatus.SYNCED)


def test_a_failed_sync_says_why_and_can_be_repeated(state: LocalState) -> None:
    created = add_source(state)
    state.call_sync(runs.start, created.parsing_job_id)
    state.call_sync(outcomes.fail, created.parsing_job_id, 1, "No such host.", "source_unreachable")
    source = state.call_sync(sources.get, created.source_id)
    assert (source.status, source.error) == (SourceStatus.FAILED, "No such host.")
    assert source.error_code == "source_unreachable"
    request = GenerateRequest(name="d", source_ids=[created.source_id])
    with pytest.raises(Conflict, match="No such host; sync it again"):
        state.call_sync(datasets.create, request, NONE)
    run = state.call_sync(sources.sync, created.source_id, NONE)
    finish(state, run.id, SYNCED)
    assert state.call_sync(sources.get, created.source_id).error is None


def test_a_cancelled_sync_leaves_the_earlier_snapshot(state: LocalState) -> None:
    source_id = add_synced_source(state)
    run = state.call_sync(sources.sync, source_id, NONE)
    state.call_sync(outcomes.cancel, run.id)
    assert state.call_sync(sources.get, source_id).status is SourceStatus.SYNCED
    never = add_source(state)
    state.call_sync(outcomes.cancel, never.parsing_job_id)
    assert state.call_sync(sources.get, never.source_id).error_code == "cancelled"


def test_a_dataset_is_made_of_what_its_sources_were(state: LocalState) -> None:
    dataset = add_dataset(state)
    run = generate_run(state, dataset.id)
    spec = datasets.GenerateSpec.model_validate(run.spec)
    assert spec.snapshots[0].path == SYNCED["snapshot"]
    finish(state, run.id, GENERATED)
    ready = state.call_sync(datasets.get, dataset.id)
    assert (ready.status, ready.example_count, ready.quality) == (DatasetStatus.READY, 10, 0.5)


def test_a_dataset_needs_sources_that_exist_and_were_read(state: LocalState) -> None:
    request = GenerateRequest(name="d", source_ids=["src-none"])
    with pytest.raises(InvalidInput) as refused:
        state.call_sync(datasets.create, request, NONE)
    assert (refused.value.code, refused.value.detail["field"]) == ("unknown_source", "sourceIds")
    request = GenerateRequest(name="d", source_ids=[add_source(state).source_id])
    with pytest.raises(Conflict) as early:
        state.call_sync(datasets.create, request, NONE)
    assert early.value.code == "source_not_synced"


def test_a_job_needs_a_dataset_that_is_ready(state: LocalState) -> None:
    with pytest.raises(InvalidInput) as unknown:
        state.call_sync(jobs.create, fine_tune("ds-none"), NONE)
    assert unknown.value.detail["field"] == "datasetId"
    dataset = add_dataset(state)
    with pytest.raises(Conflict) as early:
        state.call_sync(jobs.create, fine_tune(dataset.id), NONE)
    assert early.value.code == "dataset_not_ready"
    finish(state, generate_run(state, dataset.id).id, GENERATED | {"train_count": 0})
    with pytest.raises(Conflict) as empty:
        state.call_sync(jobs.create, fine_tune(dataset.id), NONE)
    assert empty.value.code == "dataset_empty"


def test_a_completed_job_has_a_result(state: LocalState) -> None:
    job = add_job(state)
    finish(state, job.id, TRAINED | {"trainable_parameters": 12})
    done = state.call_sync(jobs.get, job.id)
    assert (done.status, done.progress) == (RunStatus.COMPLETED, 100.0)
    assert done.result["adapterPath"] == "jobs/j/adapter"
    assert done.finished_at is not None


def test_an_outcome_of_another_shape_changes_nothing(state: LocalState) -> None:
    created = add_source(state)
    state.call_sync(runs.start, created.parsing_job_id)
    before = state.call_sync(events.latest)
    with pytest.raises(ValidationError):
        state.call_sync(outcomes.complete, created.parsing_job_id, 1, {"steps": 3})
    assert state.call_sync(runs.get, created.parsing_job_id).status is RunStatus.RUNNING
    assert state.call_sync(events.latest) == before


def test_cancelling(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    waiting, running = add_job(state, dataset_id), add_job(state, dataset_id)
    assert state.call_sync(jobs.cancel, waiting.id).status is RunStatus.CANCELLED
    state.call_sync(runs.start, running.id)
    assert state.call_sync(jobs.cancel, running.id).status is RunStatus.CANCELLING
    assert state.call_sync(jobs.cancel, running.id).status is RunStatus.CANCELLING
    # Whatever the work does in the meantime, it was cancelled.
    assert state.call_sync(outcomes.complete, running.id, 1, TRAINED).status is RunStatus.CANCELLED
    assert state.call_sync(jobs.cancel, running.id).status is RunStatus.CANCELLED
    finished = add_job(state, dataset_id)
    finish(state, finished.id, TRAINED)
    with pytest.raises(Conflict) as late:
        state.call_sync(jobs.cancel, finished.id)
    assert late.value.code == "job_is_completed"
    with pytest.raises(NotFound):
        state.call_sync(jobs.cancel, "job-none")


def test_an_older_attempt_cannot_write_any_more(state: LocalState) -> None:
    job = add_job(state)
    state.call_sync(runs.start, job.id)
    recovered = state.call_sync(outcomes.recover, job.id, 1, "its driver died")
    assert (recovered.attempt, recovered.status) == (2, RunStatus.RUNNING)
    for write, arguments in (
        (runs.heartbeat, (job.id, 1)),
        (runs.record, (job.id, 1, runs.Report(progress=99))),
        (outcomes.complete, (job.id, 1, TRAINED)),
        (outcomes.fail, (job.id, 1, "no", "no")),
    ):
        with pytest.raises(Conflict) as stale:
            state.call_sync(write, *arguments)
        assert stale.value.code == "stale_attempt"
    assert state.call_sync(outcomes.recover, job.id, 1, "again").attempt == 2


def test_attempts_are_limited(state: LocalState) -> None:
    job = add_job(state)
    state.call_sync(runs.start, job.id)
    for attempt in range(1, outcomes.MAX_ATTEMPTS + 1):
        run = state.call_sync(outcomes.recover, job.id, attempt, "its driver died")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "driver_lost")
    assert "its driver died" in (run.error or "")


def test_reports_add_up(state: LocalState) -> None:
    job = add_job(state, epochs=2)
    state.call_sync(runs.start, job.id)
    figures = {"total_steps": 40, "remaining_seconds": math.inf}
    points = [point(1, 3.0, epoch=0.1), point(2, math.nan, epoch=0.2)]
    report = runs.Report(
        logs=[line("one"), line("tw\x00o\ud800", "error")],
        points=points,
        progress=12.345,
        stage="training",
        figures=figures,
    )
    assert state.call_sync(runs.record, job.id, 1, report) is RunStatus.RUNNING
    state.call_sync(runs.record, job.id, 1, runs.Report(logs=[line("three")], progress=200))
    found = state.call_sync(jobs.get, job.id)
    assert (found.progress, found.stage) == (100.0, "training")
    assert found.metrics.total_steps == 40
    assert (found.metrics.current_step, found.metrics.total_epochs) == (2, 2)
    assert found.metrics.loss is None
    assert found.metrics.remaining_seconds is None
    assert state.call_sync(jobs.history, job.id).losses == [3.0, None]
    tail = state.call_sync(jobs.log_tail, job.id, 2)
    assert [(entry.sequence, entry.message) for entry in tail] == [(2, "tw\ufffdo?"), (3, "three")]
    assert [entry.message for entry in state.call_sync(logs.after, job.id, 2)] == ["three"]


def test_a_step_that_a_later_attempt_measured_again_is_replaced(state: LocalState) -> None:
    job = add_job(state)
    state.call_sync(runs.start, job.id)
    state.call_sync(runs.record, job.id, 1, runs.Report(points=[point(1, 5.0), point(2, 4.0)]))
    state.call_sync(outcomes.recover, job.id, 1, "its driver died")
    state.call_sync(runs.record, job.id, 2, runs.Report(points=[point(2, 3.0), point(3, 2.0)]))
    history = state.call_sync(jobs.history, job.id)
    assert (history.steps, history.losses) == ([1, 2, 3], [5.0, 3.0, 2.0])


def test_what_is_in_use_is_not_deleted(state: LocalState) -> None:
    created = add_source(state)
    with pytest.raises(Conflict) as syncing:
        state.call_sync(removals.delete_source, created.source_id)
    assert syncing.value.code == "source_in_use"
    dataset = add_dataset(state)
    with pytest.raises(Conflict) as building:
        state.call_sync(removals.delete_source, dataset.source_ids[0])
    assert building.value.detail["datasetId"] == dataset.id
    with pytest.raises(Conflict):
        state.call_sync(removals.delete_dataset, dataset.id)
    finish(state, generate_run(state, dataset.id).id, GENERATED)
    job = add_job(state, dataset.id)
    with pytest.raises(Conflict) as training:
        state.call_sync(removals.delete_dataset, dataset.id)
    assert training.value.detail["jobId"] == job.id
    state.call_sync(jobs.cancel, job.id)
    state.call_sync(removals.delete_dataset, dataset.id)
    state.call_sync(removals.delete_source, dataset.source_ids[0])
    with pytest.raises(NotFound):
        state.call_sync(datasets.get, dataset.id)
    with pytest.raises(NotFound):
        state.call_sync(removals.delete_source, dataset.source_ids[0])
    assert state.call_sync(jobs.get, job.id).dataset_name == "d"


def test_lists_are_newest_first_with_filters_and_totals(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    made = [add_job(state, dataset_id, project_name=name).id for name in ("a", "b", "a", "b")]
    state.call_sync(jobs.cancel, made[0])
    page = state.call_sync(jobs.page, 2, 1)
    assert ([job.id for job in page.items], page.total) == ([made[2], made[1]], 4)
    queued = state.call_sync(jobs.page, 50, 0, RunStatus.QUEUED)
    assert ([job.id for job in queued.items], queued.total) == (made[:0:-1], 3)
    both = state.call_sync(jobs.page, 50, 0, RunStatus.QUEUED, "a")
    assert ([job.id for job in both.items], both.total) == ([made[2]], 1)
    assert state.call_sync(jobs.page, 50, 0, None, "b").total == 2
    assert state.call_sync(jobs.number, RunStatus.CANCELLED) == 1
    assert state.call_sync(sources.page, 1, 0).total == 1
    assert state.call_sync(datasets.page, 1, 5).items == []


def test_the_queue_is_in_order_of_time(state: LocalState) -> None:
    made = [add_source(state).parsing_job_id for _ in range(3)]
    assert [run.id for run in state.call_sync(runs.waiting)] == made
    state.call_sync(runs.start, made[1])
    assert [run.id for run in state.call_sync(runs.active)] == [made[1]]
    state.call_sync(runs.explain, made[0], "Waits for a CPU.")
    assert state.call_sync(runs.get, made[0]).queued_reason == "Waits for a CPU."
    assert state.call_sync(runs.start, made[0]).queued_reason is None


def test_resources_survive_the_database(state: LocalState) -> None:
    need = Resources(cpus=2.5, memory_bytes=1 << 40)
    created = state.call_sync(sources.create, new_source(), need)
    assert state.call_sync(runs.get, created.parsing_job_id).resources == need


def test_text_that_no_database_can_hold_is_the_callers_fault(state: LocalState) -> None:
    with pytest.raises(InvalidInput):
        state.call_sync(sources.create, new_source(name="a\ud800"), NONE)
