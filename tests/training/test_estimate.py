"""What a job will occupy: monotone where it must be, and a refusal that names what helps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_model

from aiforge.errors import InvalidInput
from aiforge.modeling.linears import Shape
from aiforge.schemas.jobs import JobConfig
from aiforge.training import estimate
from aiforge.training.estimate import GIB, Room

LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
SHAPE = Shape.of(LLAMA_8B)


def peak(device: estimate.Device = "cuda", length: int = 2048, **config: Any) -> int:
    return estimate.estimate(SHAPE, JobConfig(**config), length, device).peak


@pytest.mark.parametrize(
    "family", ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text"]
)
@pytest.mark.parametrize("tied", [True, False])
def test_dimensions_are_those_of_the_model(family: str, tied: bool) -> None:
    model = make_model(family, tie_word_embeddings=tied)
    shape = Shape.of(model.config.to_dict())
    matrices = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert shape.parameters == matrices


def test_an_unknown_target_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="none of q_proj, k_proj"):
        SHAPE.targets(["q_proj", "lm_head"])
    assert SHAPE.adapter(8, ["q_proj"]) == 32 * 8 * (4096 + 4096)


@given(
    st.sampled_from(["pissa", "lora", "full"]),
    st.integers(1, 8),
    st.integers(1, 64),
    st.sampled_from(["cpu", "cuda"]),
)
def test_more_of_anything_never_takes_less(
    method: Any, batch: int, rank: int, device: estimate.Device
) -> None:
    base = {"method": method, "batch_size": batch, "rank": rank, "num_workers": 4}
    assert peak(device, **base) <= peak(device, **(base | {"batch_size": batch + 1}))
    assert peak(device, **base) <= peak(device, **(base | {"rank": rank + 8}))
    assert peak(device, 1024, **base) <= peak(device, 2048, **base)
    assert peak(device, **base, activation_checkpointing=True) <= peak(device, **base)
    higher = [peak(device, **base, zero_stage=stage) for stage in (1, 2)]
    assert higher[1] <= higher[0]


@pytest.mark.parametrize(
    ("hidden", "layers", "length", "rows", "measured"),
    [(384, 6, 512, 2, 216), (384, 12, 512, 2, 337), (384, 6, 512, 4, 400), (256, 12, 256, 2, 137),
     (512, 4, 512, 2, 228)],
)  # fmt: skip
def test_what_a_cpu_keeps_of_checkpointed_layers_is_counted(
    hidden: int, layers: int, length: int, rows: int, measured: int
) -> None:
    """``measured``: MiB that three passes added to a process, torch 2.13 on glibc 2.36."""
    shape = Shape.of(
        {
            "model_type": "llama",
            "vocab_size": 4096,
            "hidden_size": hidden,
            "intermediate_size": hidden * 11 // 4,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // 64,
            "num_key_value_heads": hidden // 128,
            "tie_word_embeddings": True,
        }
    )
    config = JobConfig(rank=16, batch_size=rows, activation_checkpointing=True)
    memory = estimate.estimate(shape, config, length, "cpu")
    counted = memory.activations + memory.logits + memory.gradients
    assert counted / 2**20 == pytest.approx(measured, rel=0.2)


def test_four_bits_take_a_quarter_of_the_base_on_a_gpu() -> None:
    def weights(**config: Any) -> int:
        return estimate.estimate(SHAPE, JobConfig(**config), 512, "cuda").weights

    assert 0.3 < weights(quantize_base=True) / weights() < 0.42  # the embeddings stay as they are


def test_the_lowest_stage_that_fits_is_chosen_and_explained() -> None:
    config = JobConfig(num_workers=8, batch_size=1, activation_checkpointing=True, method="full")
    stages = {}
    for gib in (1000, 50, 40):
        chosen, reason = estimate.choose_stage(SHAPE, config, 2048, Room("cuda", gib * GIB))
        stages[gib] = chosen.zero_stage
        assert f"ZeRO stage {chosen.zero_stage}" in reason
    assert stages[1000] == 1
    assert stages[1000] < stages[50] <= stages[40] == 3  # type: ignore[operator]
    alone, reason = estimate.choose_stage(SHAPE, JobConfig(), 2048, Room("cpu", None))
    assert (alone.zero_stage, "nothing to divide" in reason) == (0, True)
    given_one, reason = estimate.choose_stage(
        SHAPE, JobConfig(zero_stage=2), 2048, Room("cpu", None)
    )
    assert (given_one.zero_stage, "as asked for" in reason) == (2, True)


@pytest.mark.parametrize("gib", [24, 40, 80])
def test_what_is_said_to_fit_fits(gib: int) -> None:
    config, room = JobConfig(rank=256, batch_size=8), Room("cuda", gib * GIB)
    changes = estimate.fitting(SHAPE, config, 4096, room)
    assert changes
    changed = config.model_copy(update=changes)
    length = changes.get("max_seq_length", 4096)
    assert estimate.estimate(SHAPE, changed, length, "cuda").peak <= gib * GIB


def test_nothing_makes_a_model_fit_where_not_even_its_process_does() -> None:
    assert estimate.fitting(SHAPE, JobConfig(), 2048, Room("cpu", 1 << 20)) == {}


def test_memory_of_devices_is_read_from_the_cluster() -> None:
    assert estimate.room({"GPU": 2, "accelerator_type:H100": 2}, 2) == Room("cuda", 80 * GIB)
    assert estimate.room({"GPU": 2, "accelerator_type:X1": 2}, 2) == Room("cuda", None)
    assert estimate.room({"CPU": 2, "memory": 8 * GIB}, 2) == Room("cpu", 4 * GIB)
    assert estimate.room({}, 2) == Room("cpu", None)
