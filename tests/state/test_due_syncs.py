"""Which sources are due for a sync: by their own interval, the default, and after failures."""

from __future__ import annotations

from datetime import timedelta

import pytest
from samples import NONE, SYNCED, add_source, add_synced_source, finish

from aiforge.errors import InvalidInput, NotFound
from aiforge.schemas.runs import Run
from aiforge.schemas.sources import SourceStatus
from aiforge.state import events, outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.schema import now

MINUTE, DAY = 60.0, 86_400.0


def is_due(state: LocalState, seconds: float, default: float | None = None) -> bool:
    """Whether the one source is due so long from now."""
    moment = now() + timedelta(seconds=seconds)
    return len(state.call_sync(sources.due, default, moment)) == 1


def begin(state: LocalState, source_id: str) -> Run:
    run = state.call_sync(sources.sync, source_id, NONE)
    return state.call_sync(runs.start, run.id)


def fail(state: LocalState, source_id: str) -> None:
    run = begin(state, source_id)
    state.call_sync(outcomes.fail, run.id, run.attempt, "It is away.", "source_unreachable")


def test_the_own_interval_goes_before_the_default(state: LocalState) -> None:
    source_id = add_synced_source(state)
    assert not is_due(state, 10 * DAY)
    assert is_due(state, 2 * MINUTE, default=MINUTE)

    updated = state.call_sync(sources.update, source_id, 600)

    assert updated.sync_seconds == 600
    assert not is_due(state, 9 * MINUTE, default=MINUTE)
    assert is_due(state, 11 * MINUTE)
    assert state.call_sync(events.after, 0, source_id, 99)[-1].type == "source.updated"
    state.call_sync(sources.update, source_id, None)
    assert not is_due(state, 10 * DAY)


def test_what_fails_is_due_again_ever_more_seldom_and_a_success_forgives(state: LocalState) -> None:
    source_id = add_synced_source(state)
    state.call_sync(sources.update, source_id, 600)
    for pause in (10 * MINUTE, 20 * MINUTE, 40 * MINUTE):
        fail(state, source_id)
        assert not is_due(state, pause - MINUTE)
        assert is_due(state, pause + MINUTE)
    for _ in range(12):
        fail(state, source_id)
    assert not is_due(state, DAY - MINUTE)
    assert is_due(state, DAY + MINUTE)

    finish(state, state.call_sync(sources.sync, source_id, NONE).id, SYNCED)
    assert is_due(state, 11 * MINUTE)


def test_a_first_sync_that_fails_is_tried_again(state: LocalState) -> None:
    created = add_source(state)
    run = state.call_sync(runs.start, created.parsing_job_id)
    assert not is_due(state, DAY, default=MINUTE)
    state.call_sync(outcomes.fail, run.id, run.attempt, "It is away.", "source_unreachable")

    assert is_due(state, 2 * MINUTE, default=MINUTE)


def test_a_rare_sync_is_not_tried_more_often_because_it_fails(state: LocalState) -> None:
    source_id = add_synced_source(state)
    state.call_sync(sources.update, source_id, int(7 * DAY))
    fail(state, source_id)
    fail(state, source_id)

    assert not is_due(state, 7 * DAY - MINUTE)
    assert is_due(state, 7 * DAY + MINUTE)


def test_a_sync_that_was_cancelled_waits_its_interval_and_counts_as_no_failure(
    state: LocalState,
) -> None:
    source_id = add_synced_source(state)
    state.call_sync(sources.update, source_id, 600)
    for _ in range(3):
        run = state.call_sync(sources.sync, source_id, NONE)
        state.call_sync(outcomes.cancel, run.id)

    assert state.call_sync(sources.get, source_id).status is SourceStatus.SYNCED
    assert not is_due(state, 9 * MINUTE)
    assert is_due(state, 11 * MINUTE)


def test_an_upload_is_never_due_and_takes_no_interval(state: LocalState) -> None:
    created = add_source(state, type="upload", url=None)
    finish(state, created.parsing_job_id, SYNCED)

    assert not is_due(state, 10 * DAY, default=MINUTE)
    with pytest.raises(InvalidInput, match="upload it again"):
        state.call_sync(sources.update, created.source_id, 600)
    assert state.call_sync(sources.update, created.source_id, None).sync_seconds is None


def test_an_unknown_source_cannot_be_updated(state: LocalState) -> None:
    with pytest.raises(NotFound):
        state.call_sync(sources.update, "src-none", 600)
