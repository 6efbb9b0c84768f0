"""Runs of kind validate, from the queue to the verdict, without a cluster."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from comparisons import OWN_PROBLEMS, ROWS, publish
from sqlalchemy import Connection
from test_exam import FILES
from tiny_models import make_base

from aiforge.evaluation import exam
from aiforge.evaluation.compare import Compared, Comparison
from aiforge.evaluation.exam_mining import Mined, mine_snapshots
from aiforge.evaluation.gate import read_policy
from aiforge.raft.holdout import fingerprint
from aiforge.runtime.drivers import Driver
from aiforge.schemas.common import new_id
from aiforge.schemas.datasets import GenerateRequest, RaftConfig
from aiforge.schemas.jobs import FineTuneRequest, Validation, ValidationMetrics
from aiforge.schemas.models import ModelStatus
from aiforge.schemas.runs import Resources, Run, RunKind, RunStatus
from aiforge.schemas.validations import GateStatus
from aiforge.services.context import RunContext
from aiforge.services.work import generate, validate
from aiforge.settings import Settings
from aiforge.sources.limits import Limits
from aiforge.sources.sync import sync_local
from aiforge.state import artifacts, datasets, jobs, models, outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.datasets import GenerateSpec
from aiforge.state.ops import write
from aiforge.state.store import Store
from aiforge.storage import Storage, dataset_dir, exam_file

NONE = Resources()
SYNCED = {
    "revision": "abc",
    "file_count": 1,
    "skipped_count": 0,
    "total_bytes": 1,
    "snapshot": "sources/s/snapshots/abc",
}
GENERATED = {"train_count": 9, "validation_count": 6, "chunk_count": 4}
TRAINED = {"steps": 3, "final_loss": 1.5, "adapter_path": "somewhere"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home", model_roots=[tmp_path / "models"], humaneval=str(OWN_PROBLEMS)
    )


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.resolved_storage_uri)


@pytest.fixture
def state(settings: Settings) -> Iterator[LocalState]:
    store = Store(settings.resolved_database_url)
    yield LocalState(store)
    store.close()


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(comparison: Comparison, reporter: Any, on_start: Callable[..., None]) -> Compared:
        return comparison.run(reporter.progress)

    monkeypatch.setattr(validate, "compare_on_cluster", here)


@pytest.fixture
def train(state: LocalState, storage: Storage, tmp_path: Path) -> Callable[[], str]:
    """Trains: each call gives a job of one project that has completed."""
    base = make_base(tmp_path / "models" / "small", max_position_embeddings=2048)
    new = sources.NewSource(
        id=new_id("src"), name="s", type="git", include_patterns=[], exclude_patterns=[]
    )
    end(state, state.call_sync(sources.create, new, NONE).parsing_job_id, SYNCED)
    request = GenerateRequest(name="d", source_ids=[new.id])
    dataset = state.call_sync(datasets.create, request, NONE)
    end(state, state.call_sync(runs.waiting)[0].id, GENERATED)
    rows = Path(storage.full(dataset_dir(dataset.id))) / "validation"
    rows.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS * 2), rows / "part-0.parquet")
    made = iter(range(9))

    def make() -> str:
        wanted = FineTuneRequest(project_name="p", dataset_id=dataset.id, base_model="small")
        job = state.call_sync(jobs.create, wanted, NONE)
        publish(storage, base, job.id, next(made))
        end(state, job.id, TRAINED)
        return job.id

    return make


def end(state: LocalState, run_id: str, result: dict[str, Any]) -> None:
    state.call_sync(runs.start, run_id)
    state.call_sync(outcomes.complete, run_id, 1, result)


@write
def put(connection: Connection, model_id: str, status: ModelStatus) -> None:
    models.change(connection, model_id, status)


put.__module__ = "aiforge.state.models"


def carry_out(state: LocalState, settings: Settings) -> Run:
    (run,) = [one for one in state.call_sync(runs.waiting) if one.kind is RunKind.VALIDATE]
    state.call_sync(runs.start, run.id)
    assert Driver(settings, run.id, 1, state=state).join(200)
    return state.call_sync(runs.get, run.id)


def measured(state: LocalState, job_id: str) -> Validation:
    return state.call_sync(jobs.validation, job_id)


def test_a_validation_measures_judges_and_reports(
    state: LocalState, settings: Settings, train: Callable[[], str]
) -> None:
    job_id = train()

    run = carry_out(state, settings)

    assert run.status is RunStatus.COMPLETED, run.error
    found = measured(state, job_id)
    assert (found.policy, found.champion_id, found.active) == ("tiny", None, None)
    assert found.baseline is not None
    assert found.baseline.scored_tokens == found.metrics.scored_tokens
    assert found.metrics.samples["humaneval"] == 6
    assert found.metrics.not_measured["exam"].startswith("The dataset has no exam")
    verdicts = {verdict.metric: verdict for verdict in found.gates}
    slack = 1 + read_policy("tiny").gates["bits_per_byte"].max_regression  # type: ignore[operator]
    worse = found.metrics.bits_per_byte > slack * found.baseline.bits_per_byte  # type: ignore[operator]
    assert (verdicts["bits_per_byte"].status is GateStatus.FAIL) == worse
    assert verdicts["humaneval"].status is GateStatus.NOT_EVALUATED
    assert found.passed == (not worse)
    kept = {one.name: one for one in state.call_sync(artifacts.page, 9, 0, job_id).items}
    assert {one.id for one in kept.values()} == set(found.artifact_ids)
    chart, text = (content(state, settings, kept[name].id) for name in CONTENTS)
    models_shown = {value["model"] for value in json.loads(chart)["data"]["values"]}
    assert models_shown == {"base", "candidate"}
    assert b"Forgetting: HumanEval 0.000 before fine-tuning" in text
    assert b"The dataset has no exam" in text


CONTENTS = ("Validation", "Validation report")


def content(state: LocalState, settings: Settings, artifact_id: str) -> bytes:
    from aiforge.storage import artifact_file

    kept = state.call_sync(artifacts.get, artifact_id)
    return Storage(settings.resolved_storage_uri).read_bytes(artifact_file(kept.sha256))


def test_the_active_model_is_the_champion_unless_it_is_the_one_in_question(
    state: LocalState, settings: Settings, train: Callable[[], str]
) -> None:
    first = train()
    carry_out(state, settings)
    model = state.call_sync(models.of_job, first)
    assert model is not None
    state.call_sync(put, model.id, ModelStatus.ACTIVE)
    second = train()

    carry_out(state, settings)
    state.call_sync(jobs.validate, first)
    carry_out(state, settings)

    beside = measured(state, second)
    assert beside.champion_id == model.id
    assert beside.active is not None
    assert beside.active.perplexity == measured(state, first).metrics.perplexity
    verdict = next(one for one in beside.gates if one.metric == "bits_per_byte")
    assert verdict.champion == beside.active.bits_per_byte
    assert (measured(state, first).champion_id, measured(state, first).active) == (None, None)


def test_a_model_that_is_gone_fails_the_run_with_the_reason(
    state: LocalState, settings: Settings, storage: Storage, train: Callable[[], str]
) -> None:
    job_id = train()
    storage.delete("jobs")

    run = carry_out(state, settings)

    assert run.status is RunStatus.FAILED
    assert "does not exist" in (run.error or "")
    assert state.call_sync(jobs.get, job_id).status is RunStatus.COMPLETED


def test_a_named_policy_is_the_one_that_judges(
    state: LocalState,
    settings: Settings,
    train: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = ValidationMetrics(
        bits_per_byte=math.inf, perplexity=math.inf, samples={"bits_per_byte": 5000}
    )
    compared = Compared({"base": figures, "candidate": figures})
    asked: list[Comparison] = []

    def compare(comparison: Comparison, *_: object) -> Compared:
        asked.append(comparison)
        return compared

    monkeypatch.setattr(validate, "compare_on_cluster", compare)
    job_id = train()
    (run,) = state.call_sync(runs.waiting)
    state.call_sync(outcomes.cancel, run.id)
    state.call_sync(jobs.validate, job_id, "default", 7)

    carry_out(state, settings)

    policy = read_policy("default")
    assert asked[0].measures.exam.items == 7
    assert asked[0].measures.humaneval == policy.measure.humaneval
    found = measured(state, job_id)
    assert found.policy == "default"
    verdict = next(one for one in found.gates if one.metric == "bits_per_byte")
    assert (verdict.status, verdict.value) == (GateStatus.FAIL, None)
    assert found.metrics.perplexity is None
    assert found.metrics.not_measured["perplexity"] == "It was not finite."
    assert found.passed is False


def context_of(storage: Storage, said: list[str]) -> RunContext:
    context = SimpleNamespace(
        storage=storage,
        run=SimpleNamespace(resource_id="ds-1"),
        settings=SimpleNamespace(resolved_storage_uri=storage.uri),
        log=lambda message, level="info": said.append(message),
        reporter=lambda share: None,
        on_cancel=lambda callback: None,
    )
    return cast(RunContext, context)


def spec_of(snapshot: str, items: int) -> GenerateSpec:
    return GenerateSpec.model_validate(
        {
            "snapshots": [{"source_id": "src-1", "path": snapshot, "revision": "r"}],
            "raft": RaftConfig(exam_items=items, reserved=[[1, 2]]),
            "max_examples": 10,
            "format": "alpaca",
            "base_model": "forge-tiny",
        }
    )


def test_an_exam_is_made_once_and_its_functions_are_set_aside(
    storage: Storage,
    tmp_path: Path,
    make_repository: Callable[[Mapping[str, str]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {path: text for path, text in FILES.items() if not path.startswith("..")}
    root = make_repository(files)
    synced = sync_local(
        storage,
        "src-1",
        str(root),
        branch=None,
        include=[],
        exclude=[],
        allowed_roots=[tmp_path],
        limits=Limits(),
        progress=lambda share, stage: None,
    )
    mines: list[str] = []

    def here(uri: str, snapshots: list[str], wanted: int, seed: int, *_: Any) -> Mined:
        mines.extend(snapshots)
        return mine_snapshots(Storage(uri), snapshots, wanted, seed=seed)

    monkeypatch.setattr(generate, "mine_on_cluster", here)
    said: list[str] = []
    context, spec = context_of(storage, said), spec_of(synced.snapshot, 5)

    config = generate._with_exam(context, spec)
    again = generate._with_exam(context, spec)

    items = exam.load(storage.read_bytes(exam_file("ds-1")))
    assert {item.qualified for item in items} == {"area", "Circle.__init__", "Circle.area"}
    assert config.reserved == [[1, 2], *(fingerprint(item.code()) for item in items)]
    assert again == config
    assert mines == [synced.snapshot]
    assert said[0].startswith("Set 3 functions aside")


def test_without_an_exam_nothing_is_run(storage: Storage) -> None:
    spec = spec_of("none", 0)

    assert generate._with_exam(context_of(storage, []), spec) == spec.raft


def test_a_dataset_is_built_without_the_exam_that_cannot_be_made(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiforge.errors import Unavailable

    def refuse(*_: Any) -> Mined:
        raise Unavailable("No sandbox holds here.", code="sandbox_unavailable")

    monkeypatch.setattr(generate, "mine_on_cluster", refuse)
    said: list[str] = []
    spec = spec_of("none", 3)

    assert generate._with_exam(context_of(storage, said), spec) == spec.raft
    assert said == ["No exam was made: No sandbox holds here."]
