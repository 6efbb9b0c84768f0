"""Stalls are named, exhausted memory becomes advice, and FLOPs are those of the model."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from tiny_models import make_model
from torch.distributed import HashStore
from torch.utils.flop_counter import FlopCounterMode

from aiforge.modeling.linears import Shape
from aiforge.modeling.lora import inject
from aiforge.schemas.jobs import JobConfig
from aiforge.training import attention
from aiforge.training.data import Batch, collate, document
from aiforge.training.flops import StepFlops, peak_flops
from aiforge.training.loss import CausalLoss
from aiforge.training.watch import (
    Beat,
    LocalBeats,
    StoreBeats,
    Watchdog,
    diagnose,
    is_out_of_memory,
    out_of_memory,
)


def beat(tick: int, place: int, phase: str = "computing") -> Beat:
    return Beat(tick, place, 11, phase)


def test_the_rank_that_is_behind_is_named() -> None:
    before = {0: beat(1, 7, "averaging the loss"), 1: beat(1, 6)}
    now = {0: beat(4, 7, "averaging the loss"), 1: beat(4, 6)}
    assert diagnose(now, before) == "rank 1 is still computing in step 12, and the others wait"


def test_a_process_that_is_stopped_is_named() -> None:
    before = {0: beat(1, 7), 1: beat(3, 7), 2: None}
    now = {0: beat(4, 7), 1: beat(3, 7), 2: None}
    assert diagnose(now, before).startswith("rank 1, rank 2 gives no sign of life")


def test_nobody_is_blamed_where_all_are_at_the_same_place() -> None:
    beats = {rank: beat(4, 7) for rank in range(2)}
    found = diagnose(beats, {rank: beat(1, 7) for rank in range(2)})
    assert found.startswith("every rank is still computing")


@pytest.mark.parametrize("make", [LocalBeats, lambda: StoreBeats(HashStore())])
def test_the_watchdog_speaks_of_a_stall_once_and_of_nothing_else(make: Any) -> None:
    beats, said, heard = make(), [], threading.Event()

    def say(message: str) -> None:
        said.append(message)
        heard.set()

    slow = Watchdog(1, 2, beats, lambda message: None, stall_seconds=0.05, tick_seconds=0.01)
    fast = Watchdog(0, 2, beats, say, stall_seconds=0.05, tick_seconds=0.01)
    with slow, fast:
        for watchdog in (slow, fast):
            watchdog.at(3, "computing")
        fast.at(3, "averaging the loss")
        assert heard.wait(20)
    assert "rank 1 is still computing in step 4" in said[0]
    assert len(said) < 4, "each time a stall has lasted twice as long"


def test_exhausted_memory_is_told_from_other_errors_and_turned_into_advice() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    )
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    error = out_of_memory(JobConfig(num_workers=2, zero_stage=1), "on rank 1")
    assert error.code == "out_of_memory"
    assert error.detail["remedies"][0].startswith("batchSize 1 with gradientAccumulation 16")
    assert any("zeroStage 3" in remedy for remedy in error.detail["remedies"])


@pytest.mark.parametrize("rank", [None, 4])
def test_flops_are_those_that_torch_counts(rank: int | None) -> None:
    model = make_model("llama", num_hidden_layers=8, attn_implementation=attention.register())
    adapter = None
    if rank is not None:
        adapters = inject(model, rank=rank, alpha=rank)
        adapter = sum(a.lora_A.numel() + a.lora_B.numel() for a in adapters.values())
    batch: Batch = collate([document(list(range(64)), list(range(64)))])
    with FlopCounterMode(display=False) as counter:
        CausalLoss(model)(batch).backward()
    shape = Shape.of(model.config.to_dict())
    flops = StepFlops(shape, adapter)
    # The counter misses attention on CPUs and products that are added in place (a third of the
    # adapters'), and it knows that nothing is trained below the first layer.
    missed = 2 * (adapter or 0) * 64
    without_attention = flops.of([1] * 64, 63)
    assert without_attention == pytest.approx(counter.get_total_flops() + missed, rel=0.03)
    pairs = 64 * 65 / 2 - 64
    assert flops.of([64], 63) - without_attention == 12 * pairs * 8 * 64


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Some Other Device", None),
    ],
)
def test_peaks_are_found_by_the_names_that_devices_give(name: str, teraflops: float | None) -> None:
    found = peak_flops(name)
    assert found == (None if teraflops is None else teraflops * 1e12)
