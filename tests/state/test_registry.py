"""The model registry: one version per training, one active per project, a history that stays."""

from __future__ import annotations

import pytest
from samples import TRAINED, VALIDATED, add_job, add_ready_dataset, finish, validate_run
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.models import ModelStatus, ollama_repository, version_tag
from aiforge.state import events, lineage, models, outcomes, removals, runs
from aiforge.state.access import LocalState
from aiforge.state.ops import write
from aiforge.state.schema import now


@write
def put(connection: Connection, model_id: str, new: ModelStatus) -> None:
    """One step of a model's life, as the end of a deployment takes it."""
    values = {"activated_at": now()} if new is ModelStatus.ACTIVE else {}
    models.change(connection, model_id, new, **values)


def train(state: LocalState, **changes: str) -> str:
    job = add_job(state, **changes)
    finish(state, job.id, TRAINED)
    model = state.call_sync(models.of_job, job.id)
    assert model is not None
    return model.id


def test_a_completed_job_registers_one_version_however_often_it_reports(state: LocalState) -> None:
    job = add_job(state)
    run = state.call_sync(runs.start, job.id)
    state.call_sync(outcomes.complete, job.id, run.attempt, TRAINED)
    with pytest.raises(Conflict):
        state.call_sync(outcomes.complete, job.id, run.attempt, TRAINED)

    (model,) = state.call_sync(models.page, 9, 0).items

    assert (model.job_id, model.name, model.version) == (job.id, "p-v1", 1)
    assert (model.status, model.ollama_name) == (ModelStatus.READY, None)
    (change,) = state.call_sync(models.history, model.id)
    assert (change.action, change.run_id) == ("registered", job.id)


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_a_job_that_does_not_complete_registers_nothing(state: LocalState, end: str) -> None:
    job = add_job(state)
    run = state.call_sync(runs.start, job.id)
    if end == "fail":
        state.call_sync(outcomes.fail, job.id, run.attempt, "no", "no")
    else:
        state.call_sync(outcomes.cancel, job.id)
        state.call_sync(outcomes.cancelled, job.id, run.attempt)

    assert state.call_sync(models.page, 9, 0).total == 0


def test_versions_count_by_project_and_are_never_used_again(state: LocalState) -> None:
    first, second = train(state), train(state)
    other = train(state, project_name="q")
    state.call_sync(models.delete, second, "me", "too old")

    third = train(state)

    versions = {m.id: m.version for m in state.call_sync(models.page, 9, 0).items}
    assert versions == {first: 1, other: 1, third: 3}
    assert [m.id for m in state.call_sync(models.page, 9, 0, "p").items] == [third, first]
    assert state.call_sync(models.page, 1, 0, "p").total == 2
    (_, deleted) = state.call_sync(models.history, second)
    assert (deleted.action, deleted.actor, deleted.reason) == ("deleted", "me", "too old")
    with pytest.raises(NotFound):
        state.call_sync(models.get, second)


def test_metrics_are_the_newest_of_the_job(state: LocalState) -> None:
    job = add_job(state)
    finish(state, job.id, TRAINED)
    finish(state, validate_run(state, job.id).id, VALIDATED)

    model = state.call_sync(models.of_job, job.id)

    assert model is not None
    assert model.metrics.model_dump() == {
        "codebleu": 0.5,
        "humaneval": None,
        "perplexity": 3.0,
        "avgLatency": 7.0,
    }


def test_a_project_has_one_active_model(state: LocalState) -> None:
    first, second = train(state), train(state)
    other = train(state, project_name="q")
    state.call_sync(put, first, ModelStatus.ACTIVE)
    state.call_sync(put, other, ModelStatus.ACTIVE)

    with pytest.raises(IntegrityError):
        state.call_sync(put, second, ModelStatus.ACTIVE)

    assert state.call_sync(models.active, "p").id == first
    assert state.call_sync(models.active).id == other
    with pytest.raises(NotFound) as absent:
        state.call_sync(models.active, "none")
    assert absent.value.code == "no_active_model"


def test_the_active_model_is_not_deleted(state: LocalState) -> None:
    model_id = train(state)
    state.call_sync(put, model_id, ModelStatus.ACTIVE)
    before = state.call_sync(events.latest)

    with pytest.raises(Conflict) as refused:
        state.call_sync(models.delete, model_id, "me", None)

    assert refused.value.code == "model_is_active"
    assert state.call_sync(events.latest) == before


def test_lineage_leads_to_the_revision_and_outlives_what_was_deleted(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    job = add_job(state, dataset_id)
    finish(state, job.id, TRAINED)
    model = state.call_sync(models.of_job, job.id)
    assert model is not None

    before = state.call_sync(lineage.of_model, model.id)
    state.call_sync(removals.delete_dataset, dataset_id)
    state.call_sync(removals.delete_source, before.sources[0].id)
    after = state.call_sync(lineage.of_model, model.id)

    assert (before.job.id, before.job.final_loss) == (job.id, 1.5)
    assert (before.dataset.id, before.dataset.exists) == (dataset_id, True)
    assert (before.sources[0].revision, before.sources[0].name) == ("abc", "repo")
    assert (after.dataset.exists, after.dataset.name) == (False, "d")
    assert (after.sources[0].revision, after.sources[0].exists) == ("abc", False)


@pytest.mark.parametrize("name", ["my project", "My-Project", "a b", "A.b"])
def test_names_that_ollama_does_not_take_stay_apart(name: str) -> None:
    plain = ollama_repository(name.lower().replace(" ", "-"))

    changed = ollama_repository(name)

    assert changed != plain
    assert changed.startswith(plain)
    assert version_tag("myproject", 1) == "myproject:v1"
