"""Artifacts belong to their owner and are found by what they are about."""

from __future__ import annotations

import pytest
from samples import TRAINED, add_job

from aiforge.errors import Conflict, NotFound
from aiforge.state import artifacts, events, outcomes, runs
from aiforge.state.access import LocalState


def new(owner_id: str, name: str = "Loss", **changes: object) -> artifacts.NewArtifact:
    values = {
        "owner_id": owner_id,
        "type": "report",
        "name": name,
        "mime_type": "text/markdown",
        "size": 3,
        "sha256": "a" * 64,
        "resource_ids": [owner_id, "model-1"],
    }
    return artifacts.NewArtifact.model_validate(values | changes)


def test_one_artifact_per_owner_and_name(state: LocalState) -> None:
    first = state.call_sync(artifacts.record, new("mission-1"))
    other = state.call_sync(artifacts.record, new("mission-1", "Gates"))
    changed = new("mission-1", sha256="b" * 64, size=4, resource_ids=["mission-1", "model-2"])
    again = state.call_sync(artifacts.record, changed)

    assert (again.id, again.sha256, again.size) == (first.id, "b" * 64, 4)
    assert other.id != first.id
    assert state.call_sync(artifacts.page, 10, 0).items == [other, again]
    assert state.call_sync(artifacts.page, 10, 0, "model-1").items == [other]
    assert state.call_sync(artifacts.page, 10, 0, "model-2").total == 1
    types = [event.type for event in state.call_sync(events.after, 0)]
    assert types == ["artifact.created", "artifact.created", "artifact.replaced"]


def test_only_the_current_attempt_of_a_run_leaves_artifacts(state: LocalState) -> None:
    job = add_job(state)
    state.call_sync(runs.start, job.id)
    state.call_sync(outcomes.recover, job.id, 1, "it died")
    with pytest.raises(Conflict) as late:
        state.call_sync(artifacts.record, new(job.id), 1)
    kept = state.call_sync(artifacts.record, new(job.id), 2)

    assert late.value.code == "stale_attempt"
    assert state.call_sync(artifacts.get, kept.id) == kept
    state.call_sync(outcomes.complete, job.id, 2, TRAINED)
    with pytest.raises(Conflict):
        state.call_sync(artifacts.record, new(job.id, "Afterthought"), 2)


def test_an_artifact_that_does_not_exist(state: LocalState) -> None:
    with pytest.raises(NotFound) as missing:
        state.call_sync(artifacts.get, "art-none")
    assert missing.value.code == "artifact_not_found"
