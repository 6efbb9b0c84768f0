"""A job is planned before it is queued, and refused where it could only fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import BASE_MODEL, World, add_dataset, fine_tune_body

from aiforge.errors import Conflict, InvalidInput
from aiforge.schemas.jobs import FineTuneRequest
from aiforge.schemas.plans import TrainingPlan
from aiforge.services import jobs, plans
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state import runs
from aiforge.training.estimate import GIB
from aiforge.training.plan import Probe, TrainPlan

LLAMA_1B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}

CLUSTER = {"CPU": 4.0, "memory": 64.0 * GIB}
GPUS = {"CPU": 16.0, "GPU": 2.0, "accelerator_type:L4": 1.0}

PROBE = Probe(
    examples=1000,
    sampled=100,
    dropped=1,
    truncated=5,
    tokens=20_000,
    trained=5_000,
    rows=10,
    device_name="CPU",
    seconds_per_micro_batch=0.5,
)


@pytest.fixture
def base(settings: Settings) -> Path:
    """The base model's directory, with the dimensions of a real one."""
    directory = settings.model_roots[0] / BASE_MODEL
    (directory / "config.json").write_text(json.dumps(LLAMA_1B))
    return directory


@pytest.fixture
def dataset_id(
    api: httpx.Client, world: World, make_repository: Callable[[Mapping[str, str]], Path]
) -> str:
    return add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))


def on(world: World, resources: Mapping[str, float]) -> Services:
    async def probe(plan: TrainPlan) -> Probe:
        assert plan.dataset_path.startswith("datasets/")
        return PROBE

    held = world.services
    return Services(held.state, held.storage, held.settings, lambda: resources, probe=probe)


def request(dataset_id: str, **options: Any) -> FineTuneRequest:
    return FineTuneRequest.model_validate(fine_tune_body(dataset_id, **options))


def planned(services: Services, dataset_id: str, **options: Any) -> TrainingPlan:
    return asyncio.run(jobs.plan(services, request(dataset_id, **options)))


def refused(services: Services, dataset_id: str, **options: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(jobs.fine_tune(services, request(dataset_id, **options)))
    return caught.value


def test_a_plan_says_what_a_job_takes(world: World, base: Path, dataset_id: str) -> None:
    plan = planned(on(world, CLUSTER), dataset_id, numWorkers=2, epochs=2, batchSize=1)
    assert plan.memory is not None
    assert plan.parameters == pytest.approx(1.236e9, rel=0.01)
    assert plan.memory.weights == 4 * plan.parameters
    assert (plan.device, plan.available_bytes, plan.fits) == ("cpu", 32 * GIB, True)
    assert plan.zero_stage == 1
    assert "lowest that fits" in plan.zero_stage_reason
    assert plan.data is not None
    assert plan.data.trained_share == 0.25
    assert (plan.data.rows, plan.data.steps) == (100, 2 * 100 // plan.rows_per_step)
    assert plan.time is not None
    assert plan.time.seconds == plan.time.seconds_per_step * plan.data.steps
    assert asyncio.run(jobs.list_page(world.services, _page())).total == 0, "nothing is queued"


def _page() -> Any:
    from aiforge.schemas.common import Page

    return Page()


def test_a_job_that_cannot_fit_is_refused_with_what_makes_it_fit(
    world: World, base: Path, dataset_id: str
) -> None:
    services = on(world, GPUS)
    options: dict[str, Any] = {"rank": 512, "batchSize": 16, "maxSeqLength": 4096}
    error = refused(services, dataset_id, **options)
    assert error.code == "does_not_fit"
    assert error.detail["field"] in error.detail["changes"]
    assert "it fits with batchSize 1" in error.message
    smaller = options | error.detail["changes"]
    queued = asyncio.run(jobs.fine_tune(services, request(dataset_id, **smaller)))
    assert queued.status == "queued"
    plan = planned(services, dataset_id, **options)
    assert (plan.fits, plan.changes) == (False, error.detail["changes"])


def test_a_job_is_planned_for_gpus_that_the_cluster_can_grow_to(
    world: World, base: Path, dataset_id: str, settings: Settings
) -> None:
    settings.cluster_limits = {"GPU": 2.0, "accelerator_type:L4": 1.0}
    services = on(world, CLUSTER)

    plan = planned(services, dataset_id, numWorkers=2, batchSize=1, maxSeqLength=512)
    assert (plan.device, plan.available_bytes, plan.fits) == ("cuda", 24 * GIB, True)
    # No GPU is there that its time could be measured on.
    assert plan.time is None
    queued = asyncio.run(jobs.fine_tune(services, request(dataset_id, maxSeqLength=512)))
    run = asyncio.run(world.services.state.call(runs.get, queued.job_id))
    assert run.resources.gpus == 1.0


def test_a_model_that_no_setting_makes_fit_is_refused(
    world: World, base: Path, dataset_id: str
) -> None:
    error = refused(on(world, {"CPU": 1.0, "memory": GIB}), dataset_id)
    assert "choose a smaller base model" in error.message


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"minWorkers": 3, "numWorkers": 2}, "minWorkers"),
        ({"offload": True, "zeroStage": 1}, "offload"),
        ({"method": "full", "quantizeBase": True}, "quantizeBase"),
        ({"method": "full", "targetModules": ["q_proj"]}, "targetModules"),
        ({"targetModules": ["lm_head"]}, "targetModules"),
        ({"resumeFrom": "job-none"}, "resumeFrom"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], field: str, world: World, base: Path, dataset_id: str
) -> None:
    error = refused(on(world, CLUSTER), dataset_id, **options)
    assert error.detail["field"] == field
    assert error.detail["error"]


def test_without_the_library_a_base_is_not_quantized(
    world: World, base: Path, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused(on(world, CLUSTER), dataset_id, quantizeBase=True).code == (
        "quantization_unavailable"
    )


def test_an_older_job_must_have_ended_and_left_a_checkpoint(
    world: World, base: Path, dataset_id: str
) -> None:
    services = on(world, CLUSTER)
    older = asyncio.run(jobs.fine_tune(services, request(dataset_id))).job_id
    with pytest.raises(Conflict, match="cancel it first"):
        asyncio.run(jobs.fine_tune(services, request(dataset_id, resumeFrom=older)))
    world.finish(older)
    assert refused(services, dataset_id, resumeFrom=older).code == "no_checkpoint"
    latest = {"checkpoint_dir_name": "step-9", "metrics": {}}
    snapshot = f"runs/{older}/checkpoint_manager_snapshot.json"
    services.storage.write_json(snapshot, {"latest_checkpoint_result": latest})
    services.storage.write_json(f"runs/{older}/step-9/state.json", {})
    error = refused(services, dataset_id, resumeFrom=older, rank=8)
    assert "rank 64, this one asks for 8" in error.message
    newer = asyncio.run(jobs.fine_tune(services, request(dataset_id, resumeFrom=older, seed=5)))
    assert planned(services, dataset_id, resumeFrom=older).resumes_from == older
    assert world.services.state.call_sync(plans.jobs.factor_seed, newer.job_id) == 0


def test_elastic_jobs_are_admitted_with_the_fewest_workers(
    world: World, base: Path, dataset_id: str
) -> None:
    job = asyncio.run(
        jobs.fine_tune(
            on(world, CLUSTER), request(dataset_id, numWorkers=4, minWorkers=2, batchSize=1)
        )
    )
    assert world.run_of(job.job_id).resources.cpus == 2.0


def test_the_route_answers_200_and_queues_nothing(
    api: httpx.Client, world: World, base: Path, dataset_id: str
) -> None:
    body = fine_tune_body(dataset_id)
    answer = api.post("/v1/fine-tune", params={"dryRun": True}, json=body)
    assert answer.status_code == 200
    assert TrainingPlan.model_validate(answer.json()).base_model == BASE_MODEL
    assert answer.json()["data"] is None, "there is no cluster to measure on"
    assert api.get("/jobs").json() == []
    assert api.post("/v1/fine-tune?dryRun=true", json=body | {"epochs": 99}).status_code == 400
    envelope = {"Accept": "application/vnd.aiforge.envelope+json"}
    enveloped = api.post("/v1/fine-tune", params={"dryRun": True}, json=body, headers=envelope)
    assert enveloped.json()["data"]["fits"] is None
