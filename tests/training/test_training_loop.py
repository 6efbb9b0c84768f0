"""The loop on a toy: it learns, notices divergence, stops on request, and resumes exactly."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from aiforge.errors import Cancelled, Conflict, Failure, NotFound
from aiforge.schemas.runs import MetricPoint
from aiforge.training import checkpoint
from aiforge.training.checkpoint import TrainState
from aiforge.training.data import Batch, BatchPlan, PackedRows, document
from aiforge.training.engine import LocalEngine, adamw
from aiforge.training.loop import Hooks, LoopConfig, evaluate, train
from aiforge.training.loss import linear_cross_entropy
from aiforge.training.muon import Muon, orthogonalize
from aiforge.training.schedule import Schedule

STEPS = 12


class Bigrams(nn.Module):
    """Predicts a token from the one before, with some dropout to exercise the generators."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(11, 16)
        self.dropout = nn.Dropout(0.1)
        self.output = nn.Linear(16, 11, bias=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        hidden = self.dropout(self.embedding(batch.input_ids[0]))
        return linear_cross_entropy(hidden, self.output.weight, batch.targets)


def make_engine() -> LocalEngine:
    return LocalEngine(Bigrams(), lambda named: [adamw(named, 0.01, (0.9, 0.99))])


def make_data() -> BatchPlan:
    texts = [[(start + 3 * i) % 11 for i in range(9)] for start in range(16)]
    rows = PackedRows.of([document(text, text) for text in texts])
    return BatchPlan(rows, seed=3, rows_per_step=4, epochs=3)


def config(rate: float = 0.05, every: int = 0) -> LoopConfig:
    return LoopConfig(Schedule(rate, STEPS, warmup=2), 2, checkpoint_every=every, eval_every=6)


def test_the_loss_falls_and_every_step_is_reported() -> None:
    points: list[MetricPoint] = []
    data = make_data()
    result = train(
        make_engine(), data, config(0.1), Hooks(on_point=points.append), validation=data.rows
    )
    assert [point.step for point in points] == list(range(1, STEPS + 1))
    assert points[-1].loss < 0.6 * points[0].loss
    assert points[-1].epoch == 3.0
    assert [point.step for point in points if point.eval_loss is not None] == [6, 12]
    assert result.eval_loss == points[-1].eval_loss
    assert result.tokens == 3 * 16 * 9


def test_the_reported_loss_is_the_mean_over_trained_targets() -> None:
    engine, data = make_engine(), make_data()
    engine.module.eval()
    engine.training = lambda mode: None  # type: ignore[method-assign]
    mean = evaluate(engine, data.rows, 3)
    whole = BatchPlan(data.rows, seed=0, rows_per_step=16)
    losses: list[float] = []
    train(
        engine,
        whole,
        LoopConfig(Schedule(1e-9, 1), micro_batch=5),
        Hooks(on_point=lambda point: losses.append(point.loss)),
    )
    assert losses == [pytest.approx(mean, rel=1e-6)]


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    engine = make_engine()
    with torch.no_grad():
        engine.module.output.weight.fill_(math.inf)  # type: ignore[union-attr, operator]
    with pytest.raises(Failure, match="Lower the learning rate") as caught:
        train(engine, make_data(), config(), Hooks())
    assert caught.value.code == "training_diverged"
    assert caught.value.detail == {"step": 1}


def test_a_gradient_that_is_not_finite_ends_the_run() -> None:
    engine = make_engine()
    poisoned = engine.named[0][1]
    poisoned.register_hook(lambda grad: grad * math.nan)
    with pytest.raises(Failure, match="gradient norm of step 1"):
        train(engine, make_data(), config(), Hooks())


def test_a_stop_on_request_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    engine = make_engine()
    kept: list[int] = []
    hooks = Hooks(on_checkpoint=kept.append, should_stop=lambda: kept == [4, 8])
    with pytest.raises(Cancelled, match="after 8 of 12"):
        train(engine, make_data(), config(every=4), hooks)
    assert kept == [4, 8]


@pytest.mark.parametrize("victim", [1, 5, 11])
def test_a_resumed_run_has_the_same_losses_to_the_bit(tmp_path: Path, victim: int) -> None:
    whole = train(make_engine(), make_data(), config(), Hooks()).losses
    engine = make_engine()

    def keep(step: int) -> None:
        state = TrainState(step, engine.export_state(), {"seed": 3})
        checkpoint.save(state, tmp_path / "checkpoint")

    hooks = Hooks(on_checkpoint=keep, should_stop=lambda: (tmp_path / "checkpoint").exists())
    with pytest.raises(Cancelled):
        train(engine, make_data(), config(every=victim), hooks)
    resumed = make_engine()
    state = checkpoint.load(tmp_path / "checkpoint", {"seed": 3})
    resumed.import_state(state.tensors)
    rest = train(resumed, make_data(), config(), Hooks(), start=state.step).losses
    assert rest == whole[victim:]


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    checkpoint.save(TrainState(1, {}, {"seed": 3}), tmp_path / "checkpoint")
    with pytest.raises(Conflict, match="another seed"):
        checkpoint.load(tmp_path / "checkpoint", {"seed": 4})
    with pytest.raises(NotFound):
        checkpoint.load(tmp_path / "nothing")


def test_a_checkpoint_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    tensors = {"a.weight": {"master": torch.ones(2, 3), "step": torch.tensor(7.0)}}
    for step in (1, 2):
        checkpoint.save(TrainState(step, tensors, {}, 0.5, None), tmp_path / "checkpoint")
    loaded = checkpoint.load(tmp_path / "checkpoint")
    assert (loaded.step, loaded.last_loss, loaded.eval_loss) == (2, 0.5, None)
    assert loaded.tensors["a.weight"]["step"] == 7.0
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_schedules_warm_up_to_their_peak_and_fall(shape: str) -> None:
    schedule = Schedule(1.0, steps=20, warmup=4, shape=shape)  # type: ignore[arg-type]
    rates = [schedule.at(step) for step in range(20)]
    assert rates[:5] == [pytest.approx(x) for x in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert all(rate > 0 for rate in rates)
    assert all(after <= before for before, after in pairwise(rates[4:]))
    assert schedule.at(20) == (1.0 if shape == "constant" else pytest.approx(0.0))


def test_muon_orthogonalises_and_learns() -> None:
    torch.manual_seed(0)
    matrix = orthogonalize(torch.randn(12, 30))
    assert torch.linalg.svdvals(matrix).sub(1).abs().max() < 0.4
    engine = LocalEngine(Bigrams(), lambda named: [Muon([p for _, p in named])])
    losses = train(engine, make_data(), config(0.2), Hooks()).losses
    assert losses[-1] < 0.6 * losses[0]
