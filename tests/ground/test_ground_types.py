"""Errors, identifiers and wire types."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from aiforge.errors import AIForgeError, Conflict
from aiforge.schemas.common import new_id
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.runs import Event


def test_an_error_crosses_processes_unchanged() -> None:
    error = Conflict("It runs already.", code="already_running", port=8000)

    back = pickle.loads(pickle.dumps(error))

    assert type(back) is Conflict
    assert isinstance(back, AIForgeError)
    assert (back.message, back.code, back.detail) == (error.message, error.code, error.detail)


def test_identifiers_sort_by_time_and_never_repeat() -> None:
    made = [new_id("job") for _ in range(1000)]

    assert len(set(made)) == 1000
    assert [name[4:14] for name in made] == sorted(name[4:14] for name in made)
    assert all(name.startswith("job-") and len(name) == 30 for name in made)


def test_the_wire_is_camel_case_with_utc_times() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    event = Event(sequence=1, at=moment, type="job.queued", resource_id="job-1")

    assert '"resourceId":"job-1"' in event.model_dump_json()
    assert '"at":"2026-01-02T01:04:05.000Z"' in event.model_dump_json()
    assert Event.model_validate_json(event.model_dump_json()).at == moment.astimezone(UTC)


def test_an_unknown_key_never_passes_as_a_default() -> None:
    body = {"projectName": "p", "datasetId": "ds-1", "baseModel": "m", "learningrate": 1}

    with pytest.raises(ValidationError, match="learningrate"):
        FineTuneRequest.model_validate(body)
