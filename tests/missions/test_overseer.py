"""The watchers' looks: what they propose, what approval carries out, and that each happens once."""

from __future__ import annotations

import asyncio
import math
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import EXPORTED, SYNCED, World, add_dataset, fine_tune_body

from aiforge.errors import NotFound, Unavailable
from aiforge.runtime.drivers import about
from aiforge.schemas.missions import (
    AutoApproval,
    MissionDetail,
    MissionPolicy,
    Reasoning,
    RecommendedAction,
    Watcher,
)
from aiforge.schemas.runs import Resources, Run, RunKind
from aiforge.services import overseer
from aiforge.services.context import Services
from aiforge.services.overseer import Overseer
from aiforge.services.watchers import Found, Quiet, Watching
from aiforge.services.watchers.alerts import DatasetQuality, FailedJobs
from aiforge.services.watchers.base import Attachment, Finding
from aiforge.services.watchers.deploy import Deploy
from aiforge.services.watchers.platform import FullDisk, StalledQueue
from aiforge.services.watchers.retrain import Retrain
from aiforge.state import (
    artifacts,
    deployments,
    executions,
    jobs,
    mission_policies,
    missions,
    models,
    outcomes,
    runs,
    schema,
    sources,
)
from aiforge.state.proposals import Expectation, Proposal


class Says:
    """A watcher that says what it is told to."""

    def __init__(self, name: Watcher, finding: Finding | Exception) -> None:
        self.name = name
        self.finding = finding
        self.asked = 0

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        self.asked += 1
        if isinstance(self.finding, Exception):
            raise self.finding
        return self.finding


def found(action: RecommendedAction, **changes: Any) -> Found:
    values: dict[str, Any] = {
        "project_name": "p",
        "watcher": "retrain",
        "subject": "s",
        "title": "Recommend it",
        "description": "d",
        "priority": "medium",
        "confidence": 90,
        "magnitude": 1.0,
        "reasoning": Reasoning(trigger="t", analysis="a", expected_outcome="e"),
        "action": action,
    }
    proposal = Proposal.model_validate(values | changes)
    return Found(proposal, [Attachment("report", "Why", b"# Why\n", "text/markdown")])


@pytest.fixture
def dataset_id(api: httpx.Client, world: World, make_repository: Any) -> str:
    return add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))


@pytest.fixture
def job_id(api: httpx.Client, world: World, dataset_id: str) -> str:
    """A completed job, so that the project ``p`` exists."""
    created = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id))
    assert created.status_code == 201, created.text
    world.finish(created.json()["jobId"])
    return str(created.json()["jobId"])


def look(
    world: World, *of_project: Watching, of_platform: tuple[Watching, ...] = ()
) -> list[MissionDetail]:
    """One round of a new overseer, as after a crash; the missions that are open then."""
    asyncio.run(Overseer(world.services, of_project, of_platform).look())
    return world.services.state.call_sync(missions.pending)


def test_a_finding_becomes_a_mission_with_its_files(world: World, job_id: str) -> None:
    (mission,) = look(world, Says("retrain", found(RecommendedAction(type="acknowledge"))))
    (again,) = look(world, Says("retrain", found(RecommendedAction(type="acknowledge"))))

    assert again.id == mission.id
    assert again.version == 1
    (link,) = world.services.state.call_sync(missions.get, mission.id).artifacts
    assert (link.name, link.url) == ("Why", f"/artifacts/{link.id}")
    assert world.services.state.call_sync(artifacts.page, 9, 0, mission.id).total == 1


def test_a_mission_is_superseded_when_its_reason_is_gone(world: World, job_id: str) -> None:
    (mission,) = look(world, Says("retrain", found(RecommendedAction(type="acknowledge"))))

    assert look(world, Says("retrain", None)) != []
    assert look(world, Says("retrain", Quiet("All is well."))) == []

    closed = world.services.state.call_sync(missions.get, mission.id)
    assert closed.superseded_because == "All is well."


def test_one_watcher_that_fails_does_not_silence_the_others(world: World, job_id: str) -> None:
    away = Says("deploy", Unavailable("It is away.", code="away"))
    fine = Says("retrain", found(RecommendedAction(type="acknowledge")))

    assert len(look(world, away, fine)) == 1
    assert away.asked == fine.asked == 1


def test_a_watcher_that_is_switched_off_is_not_asked(world: World, job_id: str) -> None:
    watcher = Says("retrain", found(RecommendedAction(type="acknowledge")))
    look(world, watcher)
    off = MissionPolicy(watchers=["deploy"])
    world.services.state.call_sync(mission_policies.put, "p", off, "ann")

    assert look(world, watcher) == []
    assert watcher.asked == 1


def training(dataset_id: str, source_id: str) -> RecommendedAction:
    return RecommendedAction(
        type="start_training",
        parameters={
            "datasetId": dataset_id,
            "dataset": {"name": "again", "sourceIds": [source_id], "baseModel": "little"},
            "training": {"projectName": "p", "baseModel": "little", "epochs": 2},
        },
    )


@pytest.fixture
def approved(api: httpx.Client, world: World, job_id: str, dataset_id: str) -> MissionDetail:
    """A retrain mission that a person approved and nothing has carried out yet."""
    (source_id,) = api.get(f"/datasets/{dataset_id}").json()["sourceIds"]
    (mission,) = look(world, Says("retrain", found(training(dataset_id, source_id))))
    answer = api.post(f"/missions/{mission.id}/approve", json={"comment": "go"})
    assert answer.json() == {"message": "Approved"}
    return world.services.state.call_sync(missions.get, mission.id)


def execution(world: World, mission: MissionDetail) -> dict[str, Any]:
    stored = world.services.state.call_sync(missions.get, mission.id).execution
    assert stored is not None
    return stored.model_dump(by_alias=False)


def test_approval_builds_trains_and_completes_each_once(
    world: World, approved: MissionDetail, job_id: str
) -> None:
    for _ in range(3):
        look(world)
    built = execution(world, approved)["dataset_id"]
    assert [run.resource_id for run in waiting(world)] == [built]
    world.finish(built)
    for _ in range(3):
        look(world)
    trained = execution(world, approved)["job_id"]
    assert world.services.state.call_sync(jobs.get, trained).config.epochs == 2
    assert world.services.state.call_sync(jobs.page, 9, 0).total == 2

    world.finish(trained)
    look(world)

    done = execution(world, approved)
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["model_id"].startswith("model-")


def test_what_a_mission_begins_goes_back_to_it(
    api: httpx.Client, world: World, approved: MissionDetail
) -> None:
    look(world)
    world.finish(execution(world, approved)["dataset_id"])
    look(world)
    trained = execution(world, approved)["job_id"]
    world.finish(trained)

    call = world.services.state.call_sync
    assert call(runs.get, trained).request_id == approved.id
    validation = next(run for run in call(runs.waiting) if run.spec.get("jobId") == trained)
    assert validation.request_id == approved.id
    trail = api.get("/audit", params={"requestId": approved.id}).json()
    assert {entry["action"] for entry in trail} == {f"execute {approved.id}"}
    assert trained in {one for entry in trail for one in entry["resourceIds"]}
    assert {entry["principalName"] for entry in trail} == {"local"}


def test_a_step_that_was_taken_but_not_noted_is_not_taken_again(
    world: World, approved: MissionDetail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the dispatcher had been killed between the request and the note about it."""
    call = type(world.services.state).call

    async def dies(self: Any, op: Any, *args: Any, **kwargs: Any) -> Any:
        if op is executions.move:
            raise Unavailable("Killed.", code="killed")
        return await call(self, op, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(world.services.state), "call", dies)
        look(world)
    assert execution(world, approved)["status"] == "pending"
    (orphan,) = waiting(world)

    look(world)

    assert execution(world, approved)["dataset_id"] == orphan.resource_id
    assert waiting(world) == [orphan]


def test_a_run_that_fails_fails_the_execution_with_its_reason(
    world: World, approved: MissionDetail
) -> None:
    look(world)
    built = execution(world, approved)["dataset_id"]
    run = world.start(built)
    world.fail(run, "No question could be asked.", "dataset_empty")
    look(world)

    failed = execution(world, approved)
    assert (failed["status"], failed["error_code"]) == ("failed", "dataset_empty")
    assert "No question could be asked." in failed["error"]
    look(world)
    assert execution(world, approved) == failed


def test_a_second_approval_answers_409(api: httpx.Client, approved: MissionDetail) -> None:
    again = api.post(f"/missions/{approved.id}/approve")

    assert again.status_code == 409
    assert again.json()["detail"]["code"] == "mission_is_approved"


def test_approval_of_an_outdated_mission_answers_409_and_supersedes_it(
    api: httpx.Client, world: World, job_id: str
) -> None:
    expects = Expectation(dataset_id="ds-gone")
    finding = found(RecommendedAction(type="acknowledge"), expects=expects)
    (mission,) = look(world, Says("retrain", finding))

    answer = api.post(f"/missions/{mission.id}/approve", json={})

    assert answer.status_code == 409
    assert answer.json()["detail"]["code"] == "mission_outdated"
    shown = api.get(f"/missions/{mission.id}").json()
    assert (shown["status"], shown["execution"]) == ("superseded", None)


def test_rejection_through_the_api_silences_it(
    api: httpx.Client, world: World, job_id: str
) -> None:
    watcher = Says("retrain", found(RecommendedAction(type="acknowledge")))
    (mission,) = look(world, watcher)
    listed = api.get("/missions", params={"status": "pending_approval", "type": "retrain"}).json()
    assert (listed["total"], listed["pending"]) == (1, 1)
    assert api.post(f"/missions/{mission.id}/reject", json={}).status_code == 422

    answer = api.post(f"/missions/{mission.id}/reject", json={"reason": "Too little."})

    assert answer.json() == {"message": "Rejected"}
    assert look(world, watcher) == []
    assert api.get("/missions").json()["pending"] == 0


def test_auto_approval_is_off_bounded_and_noted(world: World, job_id: str) -> None:
    state = world.services.state
    policy = MissionPolicy(
        auto_approval=AutoApproval(watchers=["retrain", "deploy"], min_confidence=80, daily_limit=1)
    )
    state.call_sync(mission_policies.put, "p", policy, "ann")
    both = [
        Says(name, found(RecommendedAction(type="acknowledge"), watcher=name))
        for name in ("retrain", "deploy")
    ]

    (left,) = look(world, *both)

    done = state.call_sync(missions.page, 9, 0).missions
    assert sorted(one.status for one in done) == ["approved", "pending_approval"]
    assert left.decision is None
    (automatic,) = [one for one in done if one.status == "approved"]
    decision = state.call_sync(missions.get, automatic.id).decision
    assert decision is not None
    assert (decision.by, decision.automatic) == ("policy", True)


def test_jobs_that_fail_for_one_cause_raise_an_alert_with_the_log(
    api: httpx.Client, world: World, dataset_id: str
) -> None:
    for code in ("oom", "oom"):
        assert look(world, FailedJobs()) == []
        created = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
        world.fail(world.start(created), "Out of memory.", code)

    (mission,) = look(world, FailedJobs())

    assert (mission.type, mission.confidence) == ("alert", 75)
    assert len(mission.related_job_ids) == 2
    (link,) = world.services.state.call_sync(missions.get, mission.id).artifacts
    content = api.get(f"{link.url}/content")
    assert content.headers["content-type"].startswith("text/plain")
    assert "Out of memory." in content.text

    created = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
    world.finish(created)
    assert look(world, FailedJobs()) == []


def test_a_rebuilt_dataset_of_lower_quality_raises_an_alert(
    api: httpx.Client, world: World, dataset_id: str, job_id: str
) -> None:
    assert look(world, DatasetQuality()) == []
    (source_id,) = api.get(f"/datasets/{dataset_id}").json()["sourceIds"]
    body = {"name": "worse", "sourceIds": [source_id], "baseModel": "little"}
    worse = api.post("/datasets/generate", json=body).json()["datasetId"]
    run = world.start(worse)
    outcome = {"train_count": 9, "validation_count": 1, "chunk_count": 4, "quality": 0.2}
    world.services.state.call_sync(outcomes.complete, run.id, run.attempt, outcome)

    (mission,) = look(world, DatasetQuality())

    assert mission.related_dataset_ids == [worse, dataset_id]
    assert mission.evidence == {"quality": 0.2, "before": 0.5, "drop": 0.3}


def test_a_disk_is_looked_at_before_anything_is_stored(world: World) -> None:
    shutil.rmtree(world.services.storage.root, ignore_errors=True)
    policy = MissionPolicy(disk_free_fraction=1e-9)

    finding = asyncio.run(FullDisk().look(world.services, "p", policy))

    assert isinstance(finding, Quiet)
    assert "free again" in finding.because


def test_a_disk_that_is_nearly_full_raises_an_alert_of_the_platform(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil._ntuple_diskusage(100 << 30, 98 << 30, 2 << 30)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    (mission,) = look(world, of_platform=(FullDisk(),))

    assert (mission.project_name, mission.priority, mission.confidence) == (None, "high", 100)


def test_a_queue_that_stalls_raises_an_alert(
    api: httpx.Client, world: World, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiforge.services.watchers import platform
    from aiforge.state.schema import now

    created = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
    assert look(world, of_platform=(StalledQueue(),)) == []
    monkeypatch.setattr(platform, "now", lambda: now() + timedelta(hours=2))

    (mission,) = look(world, of_platform=(StalledQueue(),))
    assert mission.evidence["runId"] == created

    world.start(created)
    assert look(world, of_platform=(StalledQueue(),)) == []


DEPLOYED = {
    "engine": "llama.cpp",
    "prompt_tokens": 3,
    "answer": "Yes.",
}


def waiting(world: World) -> list[Run]:
    """What is queued, but for the validations that follow every training."""
    found = world.services.state.call_sync(runs.waiting)
    return [run for run in found if run.kind is not RunKind.VALIDATE]


def complete(world: World, run_id: str, result: dict[str, Any]) -> None:
    run = world.services.state.call_sync(runs.start, run_id)
    world.services.state.call_sync(outcomes.complete, run.id, run.attempt, result)


def test_approval_exports_and_activates_each_once_and_says_who(
    api: httpx.Client, world: World, job_id: str
) -> None:
    state = world.services.state
    model = state.call_sync(models.of_job, job_id)
    assert model is not None
    action = RecommendedAction(type="deploy_model", parameters={"modelId": model.id})
    (mission,) = look(world, Says("deploy", found(action, watcher="deploy")))
    assert api.post(f"/missions/{mission.id}/approve").status_code == 200

    for _ in range(2):
        look(world)
    (exporting,) = waiting(world)
    assert (exporting.kind, execution(world, mission)["step"]) == ("export", "exporting")
    complete(world, exporting.id, EXPORTED)
    for _ in range(2):
        look(world)
    (activating,) = waiting(world)
    assert (activating.kind, execution(world, mission)["step"]) == ("deploy", "activating")
    complete(world, activating.id, DEPLOYED)
    look(world)

    done = execution(world, mission)
    assert (done["status"], done["model_id"]) == ("completed", model.id)
    assert state.call_sync(models.active, "p").id == model.id
    (activated,) = [
        one for one in state.call_sync(models.history, model.id) if one.action == "activated"
    ]
    assert activated.actor == "local"
    assert activated.reason is not None
    assert activated.reason.startswith(mission.id)


def test_an_activation_that_fails_is_never_shown_as_success(
    api: httpx.Client, world: World, job_id: str
) -> None:
    state = world.services.state
    model = state.call_sync(models.of_job, job_id)
    assert model is not None
    action = RecommendedAction(type="deploy_model", parameters={"modelId": model.id})
    (mission,) = look(world, Says("deploy", found(action, watcher="deploy")))
    api.post(f"/missions/{mission.id}/approve")
    look(world)
    (exporting,) = waiting(world)
    complete(world, exporting.id, EXPORTED)
    look(world)
    (activating,) = waiting(world)
    run = state.call_sync(runs.start, activating.id)
    state.call_sync(outcomes.fail, run.id, run.attempt, "It answers nonsense.", "probe_failed")

    look(world)

    failed = execution(world, mission)
    assert (failed["status"], failed["error_code"]) == ("failed", "probe_failed")
    with pytest.raises(NotFound):
        state.call_sync(models.active, "p")


def measured(perplexity: float, tokens: int = 4000) -> dict[str, Any]:
    return {"perplexity": perplexity, "bits_per_byte": 1.0, "scored_tokens": tokens}


def validated(world: World, job_id: str, **outcome: Any) -> None:
    """Complete the validation that follows a training."""
    state = world.services.state
    (run,) = [
        one
        for one in state.call_sync(runs.waiting)
        if one.kind is RunKind.VALIDATE and one.spec["jobId"] == job_id
    ]
    values = {"metrics": measured(10.0), "baseline": measured(20.0), "passed": True}
    complete(world, run.id, values | {"policy": "tiny"} | outcome)


def test_a_first_version_that_passed_its_gate_is_proposed(world: World, job_id: str) -> None:
    assert look(world, Deploy()) == []
    validated(world, job_id)

    (mission,) = look(world, Deploy())

    model = world.services.state.call_sync(models.of_job, job_id)
    assert model is not None
    assert mission.recommended_action.parameters == {"modelId": model.id}
    assert mission.confidence >= 90
    assert mission.evidence["gain"] == pytest.approx(0.69315)
    assert [link.name for link in mission.artifacts] == [
        "Performance Trend",
        "Validation comparison",
    ]


@pytest.mark.parametrize(
    "outcome",
    [
        {"passed": False},
        {"metrics": measured(30.0)},
        {"metrics": measured(19.9), "baseline": measured(20.0)},
        {"metrics": measured(10.0, tokens=40)},
        {"baseline": None},
    ],
)
def test_a_version_that_is_no_better_or_hardly_measured_is_not_proposed(
    world: World, job_id: str, outcome: dict[str, Any]
) -> None:
    validated(world, job_id, **outcome)

    assert look(world, Deploy()) == []


@pytest.fixture
def active(api: httpx.Client, world: World, job_id: str) -> str:
    """The id of the project's active model."""
    state = world.services.state
    model = state.call_sync(models.of_job, job_id)
    assert model is not None
    validated(world, job_id)
    run = state.call_sync(deployments.activate, model.id, "ann", None, Resources())
    complete(world, run.id, DEPLOYED)
    return model.id


def resync(world: World, source_id: str, revision: str) -> None:
    """As if the source had been synced after new commits."""
    run = world.services.state.call_sync(sources.sync, source_id, Resources())
    complete(world, run.id, SYNCED | {"revision": revision})


def drift(changed: float, held_out: float, examples: int = 60) -> dict[str, Any]:
    def loss(mean: float) -> dict[str, Any]:
        return {
            "mean": mean,
            "standard_error": 0.05,
            "examples": examples,
            "tokens": 40 * examples,
            "perplexity": math.exp(mean),
        }

    return {
        "model_id": "any",
        "changed": loss(changed),
        "held_out": loss(held_out),
        "changed_chunks": 30,
        "changed_share": 0.1,
        "changed_files": ["new.py"],
        "commits": [{"id": "c" * 40, "subject": "Add it"}],
    }


def drift_run(world: World) -> Run:
    (run,) = [one for one in waiting(world) if one.kind is RunKind.DRIFT]
    return run


@pytest.fixture
def source_id(api: httpx.Client, dataset_id: str) -> str:
    return str(api.get(f"/datasets/{dataset_id}").json()["sourceIds"][0])


def test_new_commits_are_measured_and_then_proposed_with_what_was_measured(
    world: World, active: str, source_id: str, dataset_id: str
) -> None:
    assert look(world, Retrain()) == []
    assert not waiting(world)
    resync(world, source_id, "newer")
    for _ in range(2):
        assert look(world, Retrain()) == []
    measuring = drift_run(world)
    complete(world, measuring.id, drift(changed=3.0, held_out=2.0))

    (mission,) = look(world, Retrain())

    assert about(measuring)["request"].startswith("req-")
    assert mission.evidence["effect"] == pytest.approx(1.0)
    assert mission.evidence["expectedBasis"].startswith("its perplexity on held-out code")
    assert "falls from 20.09 to about 7.39" in mission.reasoning.expected_outcome
    assert mission.confidence > 80
    parameters = mission.recommended_action.parameters
    assert parameters["datasetId"] == dataset_id
    assert parameters["dataset"]["sourceIds"] == [source_id]
    assert (mission.related_model_ids, mission.related_dataset_ids) == ([active], [dataset_id])


@pytest.mark.parametrize(
    "found",
    [
        drift(changed=2.0, held_out=2.0),
        drift(changed=2.05, held_out=2.0),
        drift(changed=9.0, held_out=2.0, examples=5),
        drift(changed=1.0, held_out=2.0) | {"changed": None, "unmeasured": "Too little."},
    ],
)
def test_commits_that_surprise_nobody_raise_nothing(
    world: World, active: str, source_id: str, found: dict[str, Any]
) -> None:
    resync(world, source_id, "newer")
    look(world, Retrain())
    complete(world, drift_run(world).id, found)

    assert look(world, Retrain()) == []


def test_what_a_retraining_changed_is_measured_on_the_same_examples(
    api: httpx.Client, world: World, active: str, source_id: str
) -> None:
    state = world.services.state
    resync(world, source_id, "newer")
    look(world, Retrain())
    complete(world, drift_run(world).id, drift(changed=3.0, held_out=2.0))
    (mission,) = look(world, Retrain())
    assert api.post(f"/missions/{mission.id}/approve").status_code == 200
    look(world)
    world.finish(execution(world, mission)["dataset_id"])
    look(world)
    world.finish(execution(world, mission)["job_id"])
    look(world)
    look(world)
    again = drift_run(world)
    assert again.request_id == mission.id
    assert again.spec["adapterPath"].startswith(f"jobs/{execution(world, mission)['job_id']}/")
    complete(world, again.id, drift(changed=2.2, held_out=2.0))

    look(world)

    outcome = state.call_sync(missions.get, mission.id).outcome
    assert outcome is not None
    assert (outcome.before, outcome.after) == (
        pytest.approx(math.exp(3.0)),
        pytest.approx(math.exp(2.2)),
    )
    assert outcome.met is True
    assert api.get("/projects/p/track-record").json()["met"] == 1


def test_a_version_that_learnt_the_changed_code_and_lost_nothing_is_proposed(
    api: httpx.Client, world: World, active: str, source_id: str
) -> None:
    state = world.services.state
    resync(world, source_id, "newer")
    look(world, Retrain())
    complete(world, drift_run(world).id, drift(changed=3.0, held_out=2.0))
    (mission,) = look(world, Retrain())
    assert api.post(f"/missions/{mission.id}/approve").status_code == 200
    look(world)
    world.finish(execution(world, mission)["dataset_id"])
    look(world)
    new_job = execution(world, mission)["job_id"]
    world.finish(new_job)
    validated(world, new_job, metrics=measured(10.1), active=measured(10.0), champion_id=active)
    look(world)
    assert look(world, Deploy()) == []
    complete(world, drift_run(world).id, drift(changed=2.2, held_out=2.0))
    look(world)

    (proposed,) = look(world, Deploy())

    model = state.call_sync(models.of_job, new_job)
    assert model is not None
    assert proposed.recommended_action.parameters == {"modelId": model.id}
    assert proposed.evidence["metric"] == "perplexity on code that had changed"
    assert proposed.evidence["gain"] == pytest.approx(0.8)


def test_repositories_are_synced_by_themselves_when_they_are_due(
    world: World, job_id: str, source_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(world)
    assert not waiting(world)
    world.services.settings = world.services.settings.model_copy(update={"sync_seconds": 3600.0})
    look(world)
    assert not waiting(world)
    monkeypatch.setattr(overseer, "now", lambda: schema.now() + timedelta(hours=2))

    look(world)
    look(world)

    (run,) = waiting(world)
    assert (run.kind, run.resource_id) == ("sync", source_id)
