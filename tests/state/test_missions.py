"""Missions: one open of each kind, silence after a rejection, one execution after an approval."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from samples import add_ready_dataset, add_synced_source

from aiforge.errors import Conflict, NotFound
from aiforge.schemas.missions import (
    AutoApproval,
    Decision,
    Execution,
    ExecutionStatus,
    MissionDetail,
    MissionPolicy,
    MissionStatus,
    Outcome,
    QuietHours,
    Reasoning,
    RecommendedAction,
)
from aiforge.state import (
    decisions,
    events,
    executions,
    missions,
    proposals,
    removals,
    track_record,
)
from aiforge.state.access import LocalState, State
from aiforge.state.proposals import Expectation, Proposal
from aiforge.state.schema import now
from aiforge.state.store import RequestKey, Store

POLICY = MissionPolicy()
REASONING = Reasoning(trigger="t", analysis="a", expected_outcome="e")


def proposal(**changes: Any) -> Proposal:
    values: dict[str, Any] = {
        "project_name": "p",
        "watcher": "retrain",
        "subject": "model-1",
        "title": "Recommend retrain for p",
        "description": "d",
        "priority": "medium",
        "confidence": 85,
        "magnitude": 1.0,
        "reasoning": REASONING,
        "action": RecommendedAction(type="acknowledge"),
    }
    return Proposal.model_validate(values | changes)


def propose(state: State, policy: MissionPolicy = POLICY, **changes: Any) -> MissionDetail | None:
    return state.call_sync(proposals.propose, proposal(**changes), policy)


def raised(state: State, **changes: Any) -> MissionDetail:
    mission = propose(state, **changes)
    assert mission is not None
    return mission


def approve(state: State, mission: MissionDetail, version: int | None = None) -> MissionDetail:
    decision = Decision(by="ann", at=now(), comment="go")
    return state.call_sync(decisions.approve, mission.id, decision, version)


def types_of(state: State, mission: MissionDetail) -> list[str]:
    found = state.call_sync(events.after, 0, mission.id)
    return [event.type for event in found]


def test_a_proposal_becomes_a_mission_with_its_event(state: LocalState) -> None:
    mission = raised(state, evidence={"effect": 0.4})

    assert mission.id.startswith("mission-")
    assert (mission.status, mission.type, mission.version) == ("pending_approval", "retrain", 1)
    assert mission.evidence == {"effect": 0.4}
    assert types_of(state, mission) == ["mission.created"]


def test_new_evidence_updates_the_open_mission_and_the_same_changes_nothing(
    state: LocalState,
) -> None:
    first = raised(state)
    assert raised(state) == first

    second = raised(state, magnitude=2.0, confidence=90)

    assert (second.id, second.version, second.confidence) == (first.id, 2, 90)
    assert types_of(state, first) == ["mission.created", "mission.updated"]


def test_another_subject_supersedes_the_open_mission(state: LocalState) -> None:
    first = raised(state)
    second = raised(state, subject="model-2")

    assert second.id != first.id
    assert state.call_sync(missions.get, first.id).status is MissionStatus.SUPERSEDED
    assert state.call_sync(missions.page, 9, 0).pending == 1


def test_evidence_below_the_threshold_raises_nothing_and_closes_what_is_open(
    state: LocalState,
) -> None:
    assert propose(state, confidence=POLICY.min_confidence - 1) is None
    mission = raised(state)

    assert propose(state, confidence=POLICY.min_confidence - 1) is None

    closed = state.call_sync(missions.get, mission.id)
    assert closed.status is MissionStatus.SUPERSEDED
    assert closed.superseded_because


def test_a_rejection_silences_the_same_proposal_until_its_evidence_has_grown(
    state: LocalState,
) -> None:
    mission = raised(state, magnitude=1.0)
    rejected = state.call_sync(missions.reject, mission.id, "bob", "too little")
    assert rejected.decision is not None
    assert (rejected.decision.by, rejected.decision.comment) == ("bob", "too little")

    assert propose(state, magnitude=1.0) is None
    assert propose(state, magnitude=1.24) is None
    assert propose(state, magnitude=1.25) is not None


def test_a_rejection_says_nothing_of_another_subject_or_project(state: LocalState) -> None:
    state.call_sync(missions.reject, raised(state).id, "bob", "no")

    assert propose(state, subject="model-2") is not None
    assert propose(state, project_name="q") is not None


def test_nothing_is_raised_in_quiet_hours(state: LocalState) -> None:
    always = MissionPolicy(
        quiet_hours=QuietHours.model_validate({"start": "00:00", "end": "23:59"})
    )
    rest = MissionPolicy(quiet_hours=QuietHours.model_validate({"start": "23:59", "end": "00:00"}))
    quiet = always if always.quiet_hours and always.quiet_hours.holds(now().time()) else rest

    assert propose(state, quiet) is None
    assert propose(state) is not None


@given(st.times(), st.times(), st.times())
def test_quiet_hours_and_the_rest_of_the_day_share_no_moment(start: Any, end: Any, at: Any) -> None:
    if start != end:
        there, back = QuietHours(start=start, end=end), QuietHours(start=end, end=start)
        assert there.holds(at) is not back.holds(at)


def test_withdrawing_closes_the_open_mission_once(state: LocalState) -> None:
    mission = raised(state)

    assert state.call_sync(proposals.withdraw, "p", "retrain", "The reason is gone.")
    assert not state.call_sync(proposals.withdraw, "p", "retrain", "The reason is gone.")

    assert state.call_sync(missions.get, mission.id).superseded_because == "The reason is gone."


def test_an_approval_starts_an_execution_and_cannot_be_repeated(state: LocalState) -> None:
    mission = approve(state, raised(state))

    assert mission.status is MissionStatus.APPROVED
    assert mission.execution == Execution(status=ExecutionStatus.PENDING)
    assert [one.id for one in state.call_sync(executions.executing)] == [mission.id]
    with pytest.raises(Conflict) as refused:
        approve(state, mission)
    assert refused.value.code == "mission_is_approved"
    with pytest.raises(Conflict):
        state.call_sync(missions.reject, mission.id, "bob", "late")


def test_an_approval_names_the_version_that_was_shown(state: LocalState) -> None:
    mission = raised(state)
    raised(state, magnitude=3.0)

    with pytest.raises(Conflict) as refused:
        approve(state, mission, version=1)

    assert refused.value.code == "mission_changed"
    assert approve(state, mission, version=2).status is MissionStatus.APPROVED


def test_while_an_execution_is_under_way_the_same_is_not_proposed(state: LocalState) -> None:
    approve(state, raised(state))

    assert propose(state, magnitude=99.0) is None


def test_what_is_approved_is_what_was_shown(state: LocalState) -> None:
    dataset_id = add_ready_dataset(state)
    mission = raised(state, expects=Expectation(dataset_id=dataset_id))
    state.call_sync(removals.delete_dataset, dataset_id)

    outdated = approve(state, mission)

    assert outdated.status is MissionStatus.SUPERSEDED
    assert dataset_id in (outdated.superseded_because or "")
    assert outdated.execution is None


def test_a_source_that_moved_on_supersedes_the_mission(state: LocalState) -> None:
    source_id = add_synced_source(state)
    held = raised(state, expects=Expectation(source_revisions={source_id: "abc"}))
    moved = raised(
        state, project_name="q", expects=Expectation(source_revisions={source_id: "old"})
    )

    assert approve(state, held).status is MissionStatus.APPROVED
    assert approve(state, moved).status is MissionStatus.SUPERSEDED


def test_another_active_model_supersedes_the_mission(state: LocalState) -> None:
    mission = raised(state, expects=Expectation(active_model_id="model-gone"))

    assert approve(state, mission).status is MissionStatus.SUPERSEDED


def test_a_repeated_approval_with_one_key_is_answered_as_the_first(state: LocalState) -> None:
    mission = raised(state)
    once = state.once(RequestKey("client-1", "body"))
    decision = Decision(by="ann", at=now())

    first = once.call_sync(decisions.approve, mission.id, decision, None)
    again = once.call_sync(decisions.approve, mission.id, decision, None)

    assert again == first
    assert types_of(state, mission).count("mission.approved") == 1


def running(step: str, **facts: Any) -> Execution:
    return Execution(status=ExecutionStatus.RUNNING, step=step, **facts)


def test_a_step_is_noted_once_whoever_repeats_it(state: LocalState) -> None:
    mission = approve(state, raised(state))

    state.call_sync(executions.move, mission.id, None, running("training", job_id="job-1"))
    late = state.call_sync(executions.move, mission.id, None, running("training", job_id="job-2"))

    assert late.execution is not None
    assert late.execution.job_id == "job-1"
    assert late.execution.started_at is not None


def test_an_execution_that_ended_never_changes(state: LocalState) -> None:
    mission = approve(state, raised(state))
    failed = Execution(status=ExecutionStatus.FAILED, error="It broke.", error_code="broken")

    ended = state.call_sync(executions.move, mission.id, None, failed)
    later = state.call_sync(executions.move, mission.id, None, running("training"))

    assert later.execution == ended.execution
    assert later.execution is not None
    assert later.execution.error == "It broke."
    assert not state.call_sync(executions.executing)


def test_outcomes_make_a_track_record(state: LocalState) -> None:
    mission = approve(state, raised(state))
    done = Execution(status=ExecutionStatus.COMPLETED, model_id="model-2")
    state.call_sync(executions.move, mission.id, None, done)
    assert [one.id for one in state.call_sync(executions.unmeasured)] == [mission.id]
    first = Outcome(metric="m", before=20.0, after=15.0, expected=14, met=True, measured_at=now())

    state.call_sync(executions.record_outcome, mission.id, first)
    state.call_sync(executions.record_outcome, mission.id, first.model_copy(update={"after": 1.0}))

    assert not state.call_sync(executions.unmeasured)
    record = state.call_sync(track_record.of_project, "p")
    assert (record.proposed, record.approved, record.executed, record.met) == (1, 1, 1, 1)
    assert record.mean_relative_change == pytest.approx(-0.25)
    assert state.call_sync(track_record.relative_changes, "p", "retrain") == [-0.25]


def test_lists_filter_by_status_type_and_project(state: LocalState) -> None:
    retrain = raised(state)
    raised(state, watcher="failed_jobs", subject="oom")
    raised(state, project_name="q")
    state.call_sync(missions.reject, retrain.id, "bob", "no")

    page = state.call_sync(missions.page, 1, 1)
    alerts = state.call_sync(missions.page, 9, 0, None, "alert")
    rejected = state.call_sync(missions.page, 9, 0, MissionStatus.REJECTED)
    ours = state.call_sync(missions.page, 9, 0, None, None, "q")

    assert (len(page.missions), page.total, page.pending) == (1, 3, 2)
    assert [one.watcher for one in alerts.missions] == ["failed_jobs"]
    assert [one.id for one in rejected.missions] == [retrain.id]
    assert ours.total == 1


def test_alerts_cannot_be_approved_without_a_person() -> None:
    with pytest.raises(ValueError, match="only a person"):
        MissionPolicy(auto_approval=AutoApproval(watchers=["full_disk"]))


def test_an_unknown_mission_is_not_found(state: LocalState) -> None:
    with pytest.raises(NotFound):
        state.call_sync(missions.get, "mission-none")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["propose", "weak", "withdraw", "approve", "reject", "move", "fail"]),
        st.sampled_from(["model-1", "model-2"]),
        st.floats(0.1, 4.0),
    ),
    max_size=25,
)


@given(STEPS)
@hypothesis_settings(
    max_examples=40,
    deadline=None,
    # It makes another database at each call.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_sequence_leaves_two_open_missions_or_changes_what_has_ended(
    new_sqlite: Any, steps: list[tuple[str, str, float]]
) -> None:
    state = LocalState(Store(new_sqlite()))
    ended: dict[str, tuple[str, int]] = {}
    for action, subject, magnitude in steps:
        _take(state, action, subject, magnitude)
        page = state.call_sync(missions.page, 500, 0)
        assert page.pending <= 1
        for mission in page.missions:
            known = ended.setdefault(mission.id, (mission.status, mission.version))
            if known[0] == MissionStatus.PENDING_APPROVAL:
                ended[mission.id] = (mission.status, mission.version)
            else:
                assert known == (mission.status, mission.version)
        assert len(state.call_sync(executions.executing)) <= 1
    state.store.close()


def _take(state: LocalState, action: str, subject: str, magnitude: float) -> None:
    waiting = state.call_sync(missions.pending)
    executing = state.call_sync(executions.executing)
    match action:
        case "propose":
            propose(state, subject=subject, magnitude=magnitude)
        case "weak":
            propose(state, subject=subject, confidence=1)
        case "withdraw":
            state.call_sync(proposals.withdraw, "p", "retrain", "gone")
        case "approve" if waiting and not executing:
            approve(state, waiting[0])
        case "reject" if waiting:
            state.call_sync(missions.reject, waiting[0].id, "bob", "no")
        case "move" | "fail" if executing:
            execution = executing[0].execution
            assert execution is not None
            status = ExecutionStatus.FAILED if action == "fail" else ExecutionStatus.COMPLETED
            state.call_sync(
                executions.move, executing[0].id, execution.step, Execution(status=status)
            )
