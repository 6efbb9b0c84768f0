"""Fine-tuning in one plain process, from a dataset to files that give the trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fitting import Recorder, fit, prepare

from aiforge.errors import Failure, InvalidInput
from aiforge.storage import Storage
from aiforge.training import publication
from aiforge.training.plan import TrainPlan
from aiforge.training.prepare import check, dataset_files, describe, find_prepared, pack_key


@pytest.mark.parametrize("method", ["pissa", "lora", "full"])
def test_a_job_learns_and_publishes_what_it_trained(
    method: str, make_plan: Any, tmp_path: Path
) -> None:
    plan, recorder = make_plan(method=method, epochs=2), Recorder()
    result = fit(plan, tmp_path / "checkpoint", recorder)
    losses = [point.loss for point in recorder.points]
    assert result.steps == len(losses) == recorder.figures["total_steps"]
    assert losses[-1] < 0.97 * losses[0]
    assert result.final_loss == losses[-1]
    assert result.eval_loss is not None
    assert result.eval_loss < losses[0]
    assert result.logit_difference < 1e-4
    storage = Storage(plan.storage_uri)
    names = storage.names(result.adapter_path)
    wanted = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert wanted in names
    assert storage.read_json("jobs/job-1/training.json")["steps"] == result.steps
    assert recorder.stages[-1] == "publishing"


def test_a_published_pissa_adapter_is_a_plain_lora_for_peft(make_plan: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    from aiforge.modeling.load import load_model

    plan = make_plan()
    result = fit(plan, tmp_path / "checkpoint")
    directory = Storage(plan.storage_uri).full(result.adapter_path)
    assert json.loads(Path(directory, "adapter_config.json").read_text())["r"] == 8
    ids = torch.arange(3, 40)[None]
    base = load_model(plan.base)(ids).logits
    tuned = PeftModel.from_pretrained(load_model(plan.base), directory)(ids).logits
    assert (tuned - base).abs().max() > 0.05


def test_factors_are_computed_once_for_all_jobs(
    make_plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(make_plan("job-1"), tmp_path / "one")
    monkeypatch.setattr("aiforge.training.assemble.compute_factors", None)
    second = fit(make_plan("job-2"), tmp_path / "two")
    assert second.final_loss == first.final_loss


def test_a_finished_checkpoint_only_publishes_again(make_plan: Any, tmp_path: Path) -> None:
    plan, recorder = make_plan(), Recorder()
    first = fit(plan, tmp_path / "checkpoint")
    again = fit(plan, tmp_path / "checkpoint", recorder)
    assert recorder.points == []
    assert (again.steps, again.final_loss, again.eval_loss) == (
        first.steps,
        first.final_loss,
        first.eval_loss,
    )


def test_files_that_differ_are_not_published(
    make_plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = publication.publish_adapter

    def damage(model: Any, directory: Path, base: Any) -> Path:
        with torch.no_grad():
            next(p for n, p in model.named_parameters() if n.endswith("lora_A")).add_(1.0)
        return written(model, directory, base)

    monkeypatch.setattr(publication, "publish_adapter", damage)
    plan = make_plan()
    with pytest.raises(Failure) as caught:
        fit(plan, tmp_path / "checkpoint")
    assert caught.value.code == "publication_differs"
    assert not Storage(plan.storage_uri).exists("jobs/job-1")


def test_prepared_rows_are_found_again_until_something_changes(make_plan: Any) -> None:
    plan = make_plan()
    storage = Storage(plan.storage_uri)
    assert find_prepared(storage, pack_key(storage, plan)) is None
    prepared = prepare(plan)
    assert find_prepared(storage, pack_key(storage, plan)) == prepared
    assert pack_key(storage, make_plan(max_seq_length=128)) != prepared.key
    assert "52 examples (0 dropped" in describe(prepared, plan.max_length)
    first = prepared.train.first
    assert first is not None
    assert "⟦It adds 8 to its argument and returns the sum.<|im_end|>⟧" in first


def replace_outputs(plan: TrainPlan, output: str, padding: str = "") -> None:
    storage = Storage(plan.storage_uri)
    for file in dataset_files(storage, plan.dataset_path):
        path = storage.full(f"{plan.dataset_path}/{file}")
        rows = pq.read_table(path).to_pylist()
        changed = [row | {"output": output, "input": row["input"] + padding} for row in rows]
        pq.write_table(pa.Table.from_pylist(changed), path)


def test_a_dataset_without_answers_is_refused(make_plan: Any) -> None:
    plan = make_plan()
    replace_outputs(plan, "")
    with pytest.raises(InvalidInput) as caught:
        check(prepare(plan))
    assert caught.value.code == "dataset_empty"


def test_a_dataset_of_which_next_to_nothing_is_trained_is_refused(
    make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiforge.training.prepare.MIN_TRAINED_SHARE", 0.05)
    plan = make_plan()
    replace_outputs(plan, "1", padding="\nx = 1" * 100)
    with pytest.raises(InvalidInput) as caught:
        check(prepare(plan))
    assert caught.value.code == "nothing_to_train"


def test_a_missing_dataset_is_refused(make_plan: Any) -> None:
    plan = make_plan()
    Storage(plan.storage_uri).delete("dataset")
    with pytest.raises(InvalidInput, match="no example"):
        check(prepare(plan))
