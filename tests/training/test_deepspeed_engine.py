"""ZeRO on two processes equals one plain process, at every stage, and hands its state on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing, nn

from aiforge.errors import InvalidInput
from aiforge.settings import config_dir
from aiforge.training.data import Batch, BatchPlan, PackedRows, document
from aiforge.training.deepspeed_config import read_deepspeed_config, shipped_config
from aiforge.training.engine import Engine, LocalEngine, NamedTensors, adamw
from aiforge.training.loop import Hooks, LoopConfig, train
from aiforge.training.loss import LossHead
from aiforge.training.schedule import Schedule

BEFORE, AFTER = 3, 3
STAGES = (0, 1, 2, 3)
WORLD = 2


class Toy(nn.Module):
    """A frozen layer, a trained matrix, a trained vector, and an output layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(13, 24)
        self.frozen = nn.Linear(24, 24)
        self.trained = nn.Linear(24, 25)
        self.output = LossHead(nn.Parameter(torch.randn(13, 25)), None)
        for module in (self.embedding, self.frozen):
            module.requires_grad_(False)

    def forward(self, batch: Batch) -> torch.Tensor:
        hidden = torch.tanh(self.trained(self.frozen(self.embedding(batch.input_ids[0]))))
        loss: torch.Tensor = self.output(hidden, batch.targets)
        return loss


def optimizers(named: list[tuple[str, nn.Parameter]]) -> list[torch.optim.Optimizer]:
    return [adamw(named, 0.01, (0.9, 0.99))]


def drive(engine: Engine, start: int, stop: int) -> list[tuple[float, float]]:
    texts = [[(start + i * i) % 13 for i in range(4 + start)] for start in range(13)]
    rows = PackedRows.of([document(text, text) for text in texts])
    data = BatchPlan(rows, seed=1, rows_per_step=5, epochs=3)
    points: list[tuple[float, float]] = []
    hooks = Hooks(on_point=lambda point: points.append((point.loss, point.grad_norm)))
    train(engine, data, LoopConfig(Schedule(0.02, stop, shape="constant"), 1), hooks, start=start)
    return points


@contextmanager
def group(rank: int, port: int) -> Iterator[None]:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(WORLD),
    }
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    yield
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def worker(rank: int, port: int, results: Path) -> None:
    """Train at each stage, hand the state to the next stage, and train on there."""
    from aiforge.training.deepspeed_engine import DeepSpeedEngine

    def make(stage: int) -> Any:
        return DeepSpeedEngine(Toy(), optimizers, shipped_config(stage), torch.device("cpu"))

    with group(rank, port):
        found: dict[int, dict[str, Any]] = {}
        for stage in STAGES:
            engine = make(stage)
            points = drive(engine, 0, BEFORE)
            state = engine.export_state()
            points += drive(engine, BEFORE, BEFORE + AFTER)
            same, other = make(stage), make((stage + 1) % len(STAGES))
            same.import_state(state)
            other.import_state(state)
            found[stage] = {
                "points": points,
                "state": state,
                "resumed": drive(same, BEFORE, BEFORE + AFTER),
                "elsewhere": drive(other, BEFORE, BEFORE + AFTER),
            }
        if rank == 0:
            torch.save(found, results)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    results = tmp_path_factory.mktemp("zero") / "results.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(worker, args=(port, results), nprocs=WORLD)
    loaded: dict[int, dict[str, Any]] = torch.load(results)
    return loaded


@pytest.fixture(scope="module")
def expected() -> tuple[list[tuple[float, float]], NamedTensors]:
    engine = LocalEngine(Toy(), optimizers)
    points = drive(engine, 0, BEFORE)
    state = engine.export_state()
    return points + drive(engine, BEFORE, BEFORE + AFTER), state


@pytest.mark.parametrize("stage", STAGES)
def test_two_workers_equal_one_process(stage: int, found: Any, expected: Any) -> None:
    points, state = expected
    assert found[stage]["points"] == [pytest.approx(point, rel=1e-5) for point in points]
    assert found[stage]["state"].keys() == state.keys()
    for name, tensors in state.items():
        for kind, tensor in tensors.items():
            torch.testing.assert_close(
                found[stage]["state"][name][kind], tensor, rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(stage: int, found: Any) -> None:
    assert found[stage]["resumed"] == found[stage]["points"][BEFORE:]


@pytest.mark.parametrize("stage", STAGES)
def test_another_stage_continues_the_same_run(stage: int, found: Any) -> None:
    points = found[stage]["points"][BEFORE:]
    assert found[stage]["elsewhere"] == [pytest.approx(point, rel=1e-6) for point in points]


def test_one_process_continues_what_two_workers_began(found: Any, expected: Any) -> None:
    engine = LocalEngine(Toy(), optimizers)
    engine.import_state(found[1]["state"])
    points = drive(engine, BEFORE, BEFORE + AFTER)
    assert points == [pytest.approx(point, rel=1e-5) for point in expected[0][BEFORE:]]


def test_every_shipped_configuration_is_valid() -> None:
    files = sorted((config_dir() / "deepspeed").glob("*.json"))
    stages = {read_deepspeed_config(file).zero_optimization.stage for file in files}
    assert stages == set(STAGES)


def test_an_unknown_key_in_a_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zero.json"
    path.write_text('{"zero_optimization": {"stage": 1, "stagee": 2}}', encoding="utf-8")
    with pytest.raises(InvalidInput, match="stagee"):
        read_deepspeed_config(path)
