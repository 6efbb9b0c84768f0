"""Every option of a job does what it says: quantized bases, older jobs, targets, early stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fitting import Recorder, evaluation_of, fit, prepare
from pydantic.alias_generators import to_camel
from safetensors import safe_open
from tiny_models import CHATML, make_base, make_tokenizer

from aiforge.errors import Cancelled, Conflict, Failure, InvalidInput
from aiforge.schemas.jobs import JobConfig
from aiforge.storage import Storage
from aiforge.training import checkpoint, older_job, worker
from aiforge.training.assemble import assemble
from aiforge.training.engine import LocalEngine, adamw
from aiforge.training.plan import TrainPlan, TrainResult
from aiforge.training.probe import probe
from aiforge.training.session import LocalSession

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text"]


def losses(recorder: Recorder) -> list[float]:
    return [point.loss for point in recorder.points]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_and_publishes_what_it_trained(
    family: str, make_plan: Any, tmp_path: Path
) -> None:
    base = make_base(tmp_path / "model", family)
    make_tokenizer(CHATML).save_pretrained(tmp_path / "model")
    recorder = Recorder()
    result = fit(replace(make_plan(epochs=2), base=base), tmp_path / "checkpoint", recorder)
    assert losses(recorder)[-1] < losses(recorder)[0]
    assert result.logit_difference < 1e-3


@pytest.mark.parametrize("method", ["pissa", "lora"])
def test_a_base_in_four_bits_trains_and_its_adapter_stands_on_the_original(
    method: str, make_plan: Any, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    plan, recorder = make_plan(method=method, epochs=2, quantize_base=True), Recorder()
    result = fit(plan, tmp_path / "checkpoint", recorder)
    assert losses(recorder)[-1] < 0.97 * losses(recorder)[0]
    assert result.logit_difference < 1e-4
    assert any("from the 4-bit base" in line for line in recorder.lines)
    again = fit(make_plan("job-2", method=method, epochs=2, quantize_base=True), tmp_path / "two")
    assert again.final_loss == result.final_loss, "a second start computes the same"


def test_a_base_in_four_bits_does_not_keep_the_one_in_full(make_plan: Any, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    plan = make_plan(quantize_base=True)
    session = LocalSession(tmp_path / "checkpoint")
    assembled = assemble(plan, Storage(plan.storage_uri), session, session.device)
    assert not [line for line in mapped() if line.endswith("model.safetensors")]
    del assembled


def mapped() -> list[str]:
    """What this process has mapped into its memory."""
    return Path("/proc/self/maps").read_text().splitlines()


def interrupted(plan: TrainPlan, directory: Path, recorder: Recorder, step: int) -> None:
    """Run a plan until it has kept the checkpoint of a step."""

    class Stops(LocalSession):
        def keep(self, state: Any, at: int) -> None:
            super().keep(state, at)
            if at == step:
                raise Cancelled("Cancelled on request.")

    with pytest.raises(Cancelled):
        worker.run(plan, prepare(plan), Stops(directory), recorder)


def with_older(plan: TrainPlan, directory: Path, job_id: str = "job-2") -> TrainPlan:
    Storage(plan.storage_uri).upload(directory, "older")
    return replace(plan, job_id=job_id, start_from="older")


def test_an_older_job_that_was_cut_off_is_continued_to_the_bit(
    make_plan: Any, tmp_path: Path
) -> None:
    whole = Recorder()
    fit(make_plan(epochs=2), tmp_path / "whole", whole)
    first, second = Recorder(), Recorder()
    interrupted(make_plan(epochs=2), tmp_path / "cut", first, 5)
    fit(with_older(make_plan(epochs=2), tmp_path / "cut"), tmp_path / "new", second)
    assert losses(first)[:5] + losses(second) == losses(whole)
    assert any("Continues exactly" in line for line in second.lines)


@pytest.mark.parametrize(
    ("worse", "start", "said"), [(1, 6, "Continues exactly"), (2, 0, "that job had finished")]
)
def test_an_older_job_that_stopped_early_had_finished_and_was_not_cut_off(
    worse: int, start: int, said: str, make_plan: Any, tmp_path: Path
) -> None:
    recorder = Recorder()
    engine: Any = LocalEngine(torch.nn.Linear(3, 2), lambda named: [adamw(named, 0.0, (0.9, 0.9))])
    meta = dict.fromkeys(("factors", *map(to_camel, older_job.FIXED)), "same")
    data: Any = SimpleNamespace(steps=10)
    plan, session = make_plan(early_stopping=2), LocalSession(tmp_path)
    job = worker._Job(plan, session, recorder, engine, data, cast(Any, None), meta)
    older = checkpoint.TrainState(6, engine.export_state(), meta, best_loss=0.5, worse=worse)
    assert job._take_up(older) == start
    assert job.early.worse == (worse if start else 0)
    assert any(said in line for line in recorder.lines)


def test_a_finished_older_job_is_what_a_new_one_starts_from(make_plan: Any, tmp_path: Path) -> None:
    first, second = Recorder(), Recorder()
    fit(make_plan(epochs=2), tmp_path / "one", first)
    plan = with_older(make_plan(epochs=2, seed=9, learning_rate=1e-3), tmp_path / "one")
    fit(replace(plan, factor_seed=0), tmp_path / "two", second)
    assert second.points[0].step == 1
    assert second.points[0].loss < first.points[-1].loss + 0.1 < first.points[0].loss
    assert any("Starts from the older job's weights" in line for line in second.lines)


@pytest.mark.parametrize("change", [{"rank": 8}, {"method": "lora"}, {"seed": 3}])
def test_a_checkpoint_that_does_not_fit_is_refused(
    change: dict[str, Any], make_plan: Any, tmp_path: Path
) -> None:
    fit(make_plan(), tmp_path / "one")
    plan = with_older(make_plan(**change), tmp_path / "one")
    with pytest.raises(Conflict, match="without resumeFrom"):
        fit(plan, tmp_path / "two")


@pytest.mark.parametrize(
    "change",
    [{"rank": 8}, {"method": "lora"}, {"quantize_base": True}, {"target_modules": ["q_proj"]}],
)
def test_a_request_that_does_not_fit_an_older_job_is_told_what_differs(
    change: dict[str, Any],
) -> None:
    with pytest.raises(InvalidInput, match="asks for") as caught:
        older_job.require_fit(JobConfig(**change), "base", JobConfig(), "base")
    assert caught.value.code == "resume_mismatch"
    with pytest.raises(InvalidInput, match="baseModel 'other'"):
        older_job.require_fit(JobConfig(), "base", JobConfig(), "other")


def test_only_a_checkpoint_that_is_known_to_be_complete_is_taken(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert older_job.newest_checkpoint(storage, "job-1") is None
    storage.write_json("runs/job-1/step-2/state.json", {})
    storage.write_json("runs/job-1/step-4/orphan", {})
    snapshot = "runs/job-1/checkpoint_manager_snapshot.json"
    for name, found in (("step-4", None), ("step-2", "runs/job-1/step-2")):
        latest = {"checkpoint_dir_name": name, "metrics": {}}
        storage.write_json(snapshot, {"latest_checkpoint_result": latest})
        assert older_job.newest_checkpoint(storage, "job-1") == found


def test_only_the_targets_that_were_named_are_trained(make_plan: Any, tmp_path: Path) -> None:
    plan = make_plan(target_modules=["q_proj", "down_proj"])
    result = fit(plan, tmp_path / "checkpoint")
    file = Storage(plan.storage_uri).full(f"{result.adapter_path}/adapter_model.safetensors")
    with safe_open(file, framework="pt") as tensors:
        layers = {key.split(".lora_")[0].rpartition(".")[2] for key in tensors.keys()}  # noqa: SIM118
    assert layers == {"q_proj", "down_proj"}


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_schedule_and_the_evaluations_are_those_that_were_asked_for(
    schedule: str, make_plan: Any, tmp_path: Path
) -> None:
    recorder = Recorder()
    fit(make_plan(schedule=schedule, warmup_steps=2, eval_every=3), tmp_path / "one", recorder)
    rates = [point.learning_rate for point in recorder.points]
    last = {"cosine": 0.05, "linear": 0.2, "constant": 1.0}[schedule]
    assert rates[-1] <= 1e-2 * last + 1e-12
    evaluated = [point.step for point in recorder.points if point.eval_loss is not None]
    assert evaluated == sorted({*range(3, len(rates) + 1, 3), len(rates)})


def test_training_ends_early_where_nothing_gets_better_and_a_resumed_run_as_well(
    make_plan: Any, tmp_path: Path
) -> None:
    options = {"learning_rate": 1e-9, "epochs": 4, "eval_every": 2, "early_stopping": 2}
    recorder = Recorder()
    result = fit(make_plan(**options), tmp_path / "one", recorder)
    assert result.stopped_early
    assert result.steps == len(recorder.points) < recorder.figures["total_steps"]
    again = Recorder()
    assert fit(make_plan(**options), tmp_path / "one", again).steps == result.steps
    assert again.points == []


def test_early_stopping_publishes_the_best_weights_and_a_resumed_run_the_same(
    make_plan: Any, tmp_path: Path
) -> None:
    options = {"learning_rate": 0.3, "epochs": 10, "eval_every": 1, "early_stopping": 4}
    recorder = Recorder()
    plan = make_plan(**options, checkpoint_every=1)
    result = fit(plan, tmp_path / "one", recorder)
    evaluated = {p.step: p.eval_loss for p in recorder.points if p.eval_loss is not None}
    best = min(evaluated, key=lambda step: evaluated[step] or 0.0)
    assert best < result.steps, "the case under test: the last weights are not the best"
    assert result.eval_loss == evaluated[best]
    assert any(f"after step {best} of {result.steps}" in line for line in recorder.lines)
    published = evaluation_of(plan, result.adapter_path)
    assert published == pytest.approx(evaluated[best], rel=1e-4)
    assert published < evaluated[result.steps] * (1 - 1e-3)
    cut = make_plan("job-2", **options, checkpoint_every=1)
    interrupted(cut, tmp_path / "two", Recorder(), best + 1)
    resumed = fit(cut, tmp_path / "two")
    assert (resumed.steps, resumed.eval_loss) == (result.steps, result.eval_loss)
    assert evaluation_of(cut, resumed.adapter_path) == published


def test_activations_that_are_computed_twice_give_the_same_losses(
    make_plan: Any, tmp_path: Path
) -> None:
    kept, twice = Recorder(), Recorder()
    fit(make_plan(), tmp_path / "one", kept)
    fit(make_plan(activation_checkpointing=True), tmp_path / "two", twice)
    assert losses(twice) == pytest.approx(losses(kept), rel=1e-6)


def test_exhausted_memory_ends_a_job_with_advice(
    make_plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(worker, "assemble", exhausted)
    with pytest.raises(Failure, match=r"on rank 0\. Try, in this order: batchSize 1") as caught:
        fit(make_plan(), tmp_path / "one")
    assert caught.value.code == "out_of_memory"


def test_memory_is_measured_and_the_result_holds_it(make_plan: Any, tmp_path: Path) -> None:
    recorder = Recorder()
    result: TrainResult = fit(make_plan(), tmp_path / "one", recorder)
    assert all(point.memory_bytes and point.memory_bytes > 1 << 26 for point in recorder.points)
    assert result.peak_memory_bytes == recorder.points[-1].memory_bytes
    assert {point.mfu for point in recorder.points} == {None}, "a CPU's peak is not known"


def test_a_probe_tells_of_data_and_time(make_plan: Any) -> None:
    plan = make_plan()
    found = probe(plan, torch.device("cpu"))
    prepared = prepare(plan)
    assert (found.examples, found.sampled, found.dropped) == (52, 52, 0)
    assert (found.tokens, found.trained) == (prepared.train.tokens, prepared.train.trained)
    assert found.seconds_per_micro_batch > 0
    for file in Storage(plan.storage_uri).names("dataset/train"):
        path = Storage(plan.storage_uri).full(f"dataset/train/{file}")
        rows = [row | {"output": ""} for row in pq.read_table(path).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(Conflict, match="None of the first 52"):
        probe(plan, torch.device("cpu"))


def test_a_checkpoint_holds_what_early_stopping_has_seen(tmp_path: Path) -> None:
    state = checkpoint.TrainState(4, {}, {}, 1.0, 0.9, 0.8, 1, 2, {})
    checkpoint.save(state, tmp_path / "one")
    assert checkpoint.load(tmp_path / "one") == state
    weights = {"a.weight": torch.ones(2, 3)}
    checkpoint.save(replace(state, best=weights), tmp_path / "two")
    loaded = checkpoint.load(tmp_path / "two")
    assert loaded.best["a.weight"].equal(weights["a.weight"])
    assert loaded.tensors == {}, "what is best is no moment of an optimizer"


def test_a_job_that_stopped_early_is_taken_up_with_a_new_schedule(
    make_plan: Any, tmp_path: Path
) -> None:
    options = {"learning_rate": 0.3, "epochs": 10, "eval_every": 1, "early_stopping": 2}
    first, second = Recorder(), Recorder()
    stopped = fit(make_plan(**options), tmp_path / "one", first)
    assert stopped.stopped_early
    kept = checkpoint.load(tmp_path / "one")
    assert kept.best_step < kept.step, "the case under test: the last weights are not the best"
    changed = options | {"learning_rate": 1e-6, "epochs": 2, "schedule": "constant"}
    plan = with_older(make_plan(**changed), tmp_path / "one")
    result = fit(plan, tmp_path / "two", second)
    assert any("with a new schedule, since it differs in" in line for line in second.lines)
    assert [point.step for point in second.points] == list(range(1, len(second.points) + 1))
    assert second.points[0].learning_rate == 1e-6
    # At so small a rate the first evaluation is that of the weights it started from: the best.
    assert second.points[0].eval_loss == pytest.approx(kept.best_loss, rel=1e-3)
    assert result.steps > 2, "what the older job's early stopping had seen does not count here"


def test_a_job_that_stopped_early_and_is_repeated_starts_a_new_schedule(
    make_plan: Any, tmp_path: Path
) -> None:
    options = {"learning_rate": 1e-9, "epochs": 4, "eval_every": 2, "early_stopping": 2}
    first, second = Recorder(), Recorder()
    stopped = fit(make_plan(**options), tmp_path / "one", first)
    result = fit(with_older(make_plan(**options), tmp_path / "one"), tmp_path / "two", second)
    assert (stopped.stopped_early, result.stopped_early) == (True, True)
    assert second.points[0].step == 1, "a job that had come to its end is not cut off"
    assert any("that job had finished" in line for line in second.lines)
