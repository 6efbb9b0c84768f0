"""PiSSA: the identities it rests on, and factors that are computed once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_base, make_model
from torch import Tensor

from aiforge.modeling import lora, pissa
from aiforge.modeling.bases import weight_files
from aiforge.storage import Storage, factors_dir

SPEC = pissa.FactorSpec("base", lora.DEFAULT_TARGETS, 4, 4, 2, 0, "float32")
SIDES = st.integers(1, 40)
ALPHAS = st.sampled_from([0.5, 4.0, 16.0])
NITER = st.sampled_from([None, 0, 4])


def random_matrix(rows: int, columns: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).to(dtype)


def no_decomposition(*_: object, **__: object) -> None:
    raise AssertionError("a decomposition took place")


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, st.integers(1, 48), ALPHAS, NITER, st.integers(0, 9))
def test_factors_and_residual_add_up_to_the_weight(
    rows: int, columns: int, rank: int, alpha: float, niter: int | None, seed: int
) -> None:
    weight = random_matrix(rows, columns, seed, torch.float32)
    original = weight.clone()

    a, b = pissa.factorize(weight, rank=rank, alpha=alpha, niter=niter, seed=seed, name="x")
    scaling = alpha / rank
    pissa.subtract_(weight, a, b, scaling)

    capped = min(rank, rows, columns)
    assert a.shape == (capped, columns)
    assert b.shape == (rows, capped)
    torch.testing.assert_close(weight + scaling * b @ a, original, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(1, 48), ALPHAS, st.integers(0, 9))
def test_the_full_decomposition_is_the_best_approximation(
    rows: int, columns: int, rank: int, alpha: float, seed: int
) -> None:
    weight = random_matrix(rows, columns, seed, torch.float32)

    a, b = pissa.factorize(weight, rank=rank, alpha=alpha, niter=None, seed=0, name="x")

    # Eckart and Young: what is left are the singular values behind the rank.
    left = torch.linalg.svdvals(weight)[rank:].square().sum().sqrt()
    torch.testing.assert_close((weight - alpha / rank * b @ a).norm(), left, rtol=1e-3, atol=1e-4)
    # Both factors carry the same share of each singular value.
    torch.testing.assert_close(a.norm(dim=1), b.norm(dim=0), rtol=1e-3, atol=1e-5)


def test_the_randomized_decomposition_comes_close_to_the_best() -> None:
    u, v = (torch.linalg.qr(random_matrix(side, 200, 1, torch.float32)).Q for side in (200, 300))
    weight = (u * torch.arange(1, 201) ** -0.3) @ v.t()

    def left(niter: int | None) -> float:
        a, b = pissa.factorize(weight, rank=32, alpha=32, niter=niter, seed=0, name="x")
        return float((weight - b @ a).norm())

    assert left(None) < left(4) < 1.006 * left(None)
    assert left(8) < 1.001 * left(None)
    assert left(16) < left(4) < left(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_residual_is_formed_from_the_rounded_factors(dtype: torch.dtype) -> None:
    weight = random_matrix(60, 80, 0, dtype)
    original = weight.clone()

    a, b = pissa.factorize(weight, rank=16, alpha=16, niter=None, seed=0, name="x")
    pissa.subtract_(weight, a, b, 1.0)

    assert a.dtype == b.dtype == dtype
    error = (weight.float() + b.float() @ a.float() - original.float()).abs()
    # All that is lost is the rounding of the residual itself, half a unit in its last place.
    assert bool((error <= weight.float().abs() * torch.finfo(dtype).eps + 1e-7).all())


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(1, 8))
def test_the_plain_lora_of_twice_the_rank_is_the_trained_change(
    rows: int, columns: int, rank: int
) -> None:
    a0, a = (random_matrix(rank, columns, seed, torch.float32) for seed in (1, 2))
    b0, b = (random_matrix(rows, rank, seed, torch.float32) for seed in (3, 4))

    plain_a, plain_b = pissa.to_plain_lora(a, b, a0, b0)

    assert plain_a.shape == (2 * rank, columns)
    torch.testing.assert_close(plain_b @ plain_a, b @ a - b0 @ a0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_started_model_answers_as_its_base(dtype: torch.dtype, tmp_path: Path) -> None:
    model, ids = make_model().to(dtype), torch.arange(30).view(2, 15)
    spec = replace(SPEC, rank=48, alpha=24, dtype=str(dtype).removeprefix("torch."))
    with torch.inference_mode():
        before = model(ids).logits.float()
    originals = {n: layer.weight.clone() for n, layer in lora.target_layers(model).items()}

    adapters = lora.inject(model, rank=48, alpha=24, seed=None)
    factors, hit = pissa.ensure_factors(Storage(str(tmp_path)), spec, pissa.layer_weights(adapters))
    pissa.apply_factors(adapters, factors)

    assert not hit
    tolerance = 1e-6 if dtype == torch.float32 else 3e-3
    with torch.inference_mode():
        assert float((model(ids).logits.float() - before).abs().max()) < 10 * tolerance
    for name, adapter in adapters.items():
        assert adapter.weight is not originals[name]
        assert not torch.equal(adapter.weight, originals[name])
        assert pissa.relative_error(originals[name], adapter) < tolerance


def test_a_second_start_decomposes_nothing_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, states = Storage(str(tmp_path)), []
    for start in range(2):
        if start:
            for name in ("svd", "qr", "eigh", "svdvals"):
                monkeypatch.setattr(torch.linalg, name, no_decomposition)
            monkeypatch.setattr(torch, "svd_lowrank", no_decomposition)
        model = make_model()
        adapters = lora.inject(model, rank=4, alpha=4, seed=None)
        factors, hit = pissa.ensure_factors(storage, SPEC, pissa.layer_weights(adapters))
        pissa.apply_factors(adapters, factors)
        states.append(model.state_dict())
        assert hit is bool(start)

    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_shares_of_several_workers_make_the_same_whole(tmp_path: Path) -> None:
    storage, weights = Storage(str(tmp_path)), pissa.layer_weights(lora.target_layers(make_model()))
    names = list(weights)
    parts = []
    for rank in (1, 0):
        share = {name: weights[name] for name in names[rank::2]}
        assert pissa.load_factors(storage, SPEC, names) is None
        parts.append(pissa.save_factors(storage, SPEC, pissa.compute_factors(share, SPEC)))
    pissa.publish_factors(storage, SPEC, parts)

    whole = pissa.compute_factors(weights, SPEC)
    stored = pissa.load_factors(storage, SPEC, names)

    assert stored is not None
    assert list(stored) == names
    for name in names:
        assert torch.equal(stored[name][0], whole[name][0])
        assert torch.equal(stored[name][1], whole[name][1])


def test_another_process_with_other_threads_gets_the_same_bits(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    weights = {"a.b": random_matrix(90, 70, 1, torch.float32)}
    part = pissa.save_factors(storage, SPEC, pissa.compute_factors(weights, SPEC))
    code = f"""
import torch
torch.set_num_threads(3)
torch.manual_seed(99)
from aiforge.modeling import lora, pissa
from aiforge.storage import Storage
spec = pissa.FactorSpec("base", lora.DEFAULT_TARGETS, 4, 4, 2, 0, "float32")
weight = torch.randn(90, 70, generator=torch.Generator().manual_seed(1))
factors = pissa.compute_factors({{"a.b": weight}}, spec)
assert torch.get_num_threads() == 3
print(pissa.save_factors(Storage({str(tmp_path)!r}), spec, factors).sha256)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split()[-1] == part.sha256


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest", "layers"])
def test_damaged_factors_are_made_again(damage: str, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    weights = {"a": random_matrix(20, 30, 1, torch.float32)}
    first, _ = pissa.ensure_factors(storage, SPEC, weights)
    directory = tmp_path / factors_dir(SPEC.key)
    part = next(directory.glob("*.safetensors"))
    content = part.read_bytes()
    if damage == "remove":
        part.unlink()
    elif damage == "manifest":
        (directory / "manifest.json").write_text('{"parts": [{}]}')
    elif damage == "layers":
        weights["b"] = weights["a"]
    else:
        part.write_bytes(content[:-4] if damage == "cut" else content[:-1] + b"\x00")

    assert pissa.load_factors(storage, SPEC, list(weights)) is None
    again, hit = pissa.ensure_factors(storage, SPEC, weights)

    assert not hit
    assert torch.equal(again["a"][0], first["a"][0])
    assert pissa.load_factors(storage, SPEC, list(weights)) is not None


@pytest.mark.parametrize("damaged", [False, True])
def test_factors_that_were_stored_without_a_crc_are_held_against_their_hash(
    damaged: bool, tmp_path: Path
) -> None:
    storage, weights = Storage(str(tmp_path)), {"a": random_matrix(20, 30, 1, torch.float32)}
    first, _ = pissa.ensure_factors(storage, SPEC, weights)
    directory = tmp_path / factors_dir(SPEC.key)
    manifest = json.loads((directory / "manifest.json").read_text())
    assert [part.pop("crc32") >= 0 for part in manifest["parts"]] == [True]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    if damaged:
        part = next(directory.glob("*.safetensors"))
        part.write_bytes(part.read_bytes()[:-1] + b"\x00")

    stored = pissa.load_factors(storage, SPEC, ["a"])

    assert (stored is None) is damaged
    if stored is not None:
        assert torch.equal(stored["a"][1], first["a"][1])


@pytest.mark.parametrize(
    "change",
    [{"base_hash": "x"}, {"rank": 8}, {"alpha": 8}, {"niter": None}, {"seed": 1},
     {"dtype": "bfloat16"}, {"targets": ("q_proj",)}],
)  # fmt: skip
def test_everything_that_matters_is_in_the_key(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).key != SPEC.key  # type: ignore[arg-type]
    assert replace(SPEC, targets=tuple(reversed(SPEC.targets))).key == SPEC.key


def test_weights_can_be_read_from_the_shards_alone(tmp_path: Path) -> None:
    base, model = make_base(tmp_path), make_model()
    expected = pissa.layer_weights(lora.target_layers(model))

    read = dict(pissa.shard_weights(weight_files(base), list(expected)))

    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in expected)


def test_progress_is_told_layer_by_layer() -> None:
    weights = {name: random_matrix(6, 5, 1, torch.float32) for name in "abc"}
    calls: list[tuple[int, int]] = []

    pissa.compute_factors(weights, SPEC, lambda done, total: calls.append((done, total)))

    assert calls == [(1, 3), (2, 3), (3, 3)]
