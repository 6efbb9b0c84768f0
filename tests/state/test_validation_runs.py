"""A completed job is validated, again at will, and says honestly how far that is."""

from __future__ import annotations

import pytest
from samples import (
    NONE,
    TRAINED,
    VALIDATED,
    add_job,
    add_ready_dataset,
    fine_tune,
    finish,
    validate_run,
)

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.access import Origin
from aiforge.schemas.jobs import Job
from aiforge.schemas.runs import Resources, RunStatus
from aiforge.schemas.validations import GateStatus
from aiforge.state import events, jobs, models, outcomes, runs
from aiforge.state.access import LocalState
from aiforge.state.validations import ValidateSpec


def add_trained_job(state: LocalState, **changes: object) -> Job:
    job = add_job(state, **changes)
    finish(state, job.id, TRAINED)
    return job


def code_of(state: LocalState, job_id: str) -> str:
    with pytest.raises((Conflict, NotFound)) as caught:
        state.call_sync(jobs.validation, job_id)
    return caught.value.code


def test_the_end_of_a_training_queues_its_validation(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    needs = Resources(cpus=4, gpus=2, memory_bytes=400)
    request = fine_tune(dataset_id, num_workers=4, max_seq_length=128)
    job = state.call_sync(jobs.create, request, needs)
    assert code_of(state, job.id) == "validation_not_found"
    before = state.call_sync(events.latest)
    finish(state, job.id, TRAINED)

    run = validate_run(state, job.id)

    spec = ValidateSpec.model_validate(run.spec)
    model = state.call_sync(models.of_job, job.id)
    assert model is not None
    assert (spec.job_id, spec.model_id, spec.dataset_id) == (job.id, model.id, dataset_id)
    assert (spec.base_model, spec.config.max_seq_length) == ("forge-tiny", 128)
    assert (run.resources.cpus, run.resources.gpus, run.resources.memory_bytes) == (1, 1, 100)
    told = [event.type for event in state.call_sync(events.after, before)]
    assert told[-1] == "run.queued"
    assert {"job.completed", "model.ready"} <= set(told)


def test_a_run_knows_the_request_that_it_goes_back_to(state: LocalState) -> None:
    origin = Origin(principal="p", principal_name="P", action="POST /x", request_id="mine-1")
    dataset_id = add_ready_dataset(state)
    job = state.on_behalf(origin).call_sync(jobs.create, fine_tune(dataset_id), NONE)
    other = state.call_sync(jobs.create, fine_tune(dataset_id), NONE)

    finish(state, job.id, TRAINED)

    found = [state.call_sync(runs.get, run_id).request_id for run_id in (job.id, other.id)]
    assert found == ["mine-1", None]
    assert validate_run(state, job.id).request_id == "mine-1"


def test_a_failed_training_is_not_validated(state: LocalState) -> None:
    job = add_job(state)
    run = state.call_sync(runs.start, job.id)
    state.call_sync(outcomes.fail, job.id, run.attempt, "It broke.", "broken")

    assert state.call_sync(runs.waiting) == []
    assert code_of(state, job.id) == "validation_not_found"
    with pytest.raises(Conflict) as caught:
        state.call_sync(jobs.validate, job.id)
    assert caught.value.code == "job_is_failed"


def test_what_was_measured_is_stored_with_the_gate_s_reasons(state: LocalState) -> None:
    job = add_trained_job(state)
    run = validate_run(state, job.id)
    assert code_of(state, job.id) == "validation_under_way"

    finish(state, run.id, VALIDATED)

    measured = state.call_sync(jobs.validation, job.id)
    assert (measured.passed, measured.policy, measured.run_id) == (False, "tiny", run.id)
    assert measured.metrics.perplexity == 3.0
    assert measured.baseline is not None
    assert measured.baseline.perplexity == 9.0
    assert (measured.active, measured.champion_id) == (None, None)
    (verdict,) = measured.gates
    assert (verdict.metric, verdict.status) == ("bits_per_byte", GateStatus.FAIL)
    assert measured.artifact_ids == ["art-1"]
    told = state.call_sync(events.after, 0, job.id)[-1]
    assert (told.type, told.data["passed"]) == ("validation.completed", False)


def test_again_at_will_but_one_at_a_time(state: LocalState) -> None:
    job = add_trained_job(state)
    first = validate_run(state, job.id)
    assert state.call_sync(jobs.validate, job.id, "default").id == first.id
    finish(state, first.id, VALIDATED)

    second = state.call_sync(jobs.validate, job.id, "default")

    assert second.id != first.id
    assert ValidateSpec.model_validate(second.spec).policy == "default"
    measured = state.call_sync(jobs.validation, job.id)
    assert (measured.run_id, measured.pending_run_id) == (first.id, second.id)
    finish(state, second.id, VALIDATED | {"passed": True})
    measured = state.call_sync(jobs.validation, job.id)
    assert (measured.passed, measured.run_id, measured.pending_run_id) == (True, second.id, None)


def test_a_validation_that_failed_says_so_and_can_be_repeated(state: LocalState) -> None:
    job = add_trained_job(state)
    run = state.call_sync(runs.start, validate_run(state, job.id).id)
    state.call_sync(outcomes.fail, run.id, run.attempt, "No memory.", "out_of_memory")

    assert code_of(state, job.id) == "model_not_validated"
    assert state.call_sync(jobs.get, job.id).status is RunStatus.COMPLETED
    finish(state, state.call_sync(jobs.validate, job.id).id, VALIDATED)
    again = state.call_sync(runs.start, state.call_sync(jobs.validate, job.id).id)
    state.call_sync(outcomes.fail, again.id, again.attempt, "No memory.", "out_of_memory")

    assert state.call_sync(jobs.validation, job.id).metrics.perplexity == 3.0


def test_unknown_jobs_have_no_validation(state: LocalState) -> None:
    assert code_of(state, "job-none") == "job_not_found"
    with pytest.raises(NotFound):
        state.call_sync(jobs.validate, "job-none")
    assert NONE.gpus == 0
