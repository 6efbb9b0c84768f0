"""PiSSA: what starting an adapter costs, and how exact it is.

The peer of the starts is PEFT's own PiSSA initialization of the same model, which decomposes on
every start. The first case is what a job gets that asks for nothing else. Models are random, of
a small size and, without ``--quick``, of a larger one: the larger the model, the less of a first
start is not decomposition.

    python benchmarks/pissa.py [--quick] [--json PATH]
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import Goal, Report, arguments, median_seconds
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from aiforge.modeling import lora, pissa, publish
from aiforge.modeling.bases import BaseModel
from aiforge.storage import Storage


@dataclass(frozen=True)
class Case:
    """One initialization: rank and power iterations, ``None`` for the full decomposition."""

    rank: int
    niter: int | None

    @property
    def label(self) -> str:
        """How the table calls it."""
        return f"r{self.rank} " + ("full SVD" if self.niter is None else f"niter {self.niter}")

    @property
    def peft_name(self) -> str:
        """How PEFT calls it."""
        return "pissa" if self.niter is None else f"pissa_niter_{self.niter}"


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__)
    torch.manual_seed(0)
    cases = [Case(64, 8), Case(16, 4), Case(64, None)]
    small = _model(256, 4)
    report = Report("PiSSA")
    for model in [small] if options.quick else [small, _model(1024, 12)]:
        for case in cases:
            with tempfile.TemporaryDirectory() as directory:
                _starts(report, model, case, Storage(directory), repeats=3)
    with tempfile.TemporaryDirectory() as directory:
        _exactness(report, small, cases[1], Path(directory))
    report.finish(options.json)


def _model(width: int, layers: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def _spec(case: Case, base_hash: str) -> pissa.FactorSpec:
    return pissa.FactorSpec(
        base_hash, lora.DEFAULT_TARGETS, case.rank, case.rank, case.niter, 0, "float32"
    )


def _start(model: Any, storage: Storage, spec: pissa.FactorSpec) -> bool:
    """Start adapters as training does; whether the factors were there already."""
    adapters = lora.inject(model, rank=spec.rank, alpha=spec.alpha, seed=None)
    factors, hit = pissa.ensure_factors(storage, spec, pissa.layer_weights(adapters))
    pissa.apply_factors(adapters, factors)
    return hit


def _peft_start(model: Any, case: Case) -> Any:
    config = LoraConfig(
        r=case.rank,
        lora_alpha=case.rank,
        target_modules=list(lora.DEFAULT_TARGETS[:7]),
        init_lora_weights=case.peft_name,
    )
    return get_peft_model(model, config)


def _starts(report: Report, model: Any, case: Case, storage: Storage, repeats: int) -> None:
    fresh = iter(range(1_000_000))

    def first() -> tuple[Any, ...]:
        return copy.deepcopy(model), storage, _spec(case, f"fresh-{next(fresh)}")

    def second() -> tuple[Any, ...]:
        return copy.deepcopy(model), storage, _spec(case, "fresh-0")

    first_seconds = median_seconds(_start, repeats=repeats, prepare=first)
    if not _start(*second()):
        raise SystemExit("the second start did not find the first one's factors")
    second_seconds = median_seconds(_start, repeats=repeats, prepare=second)
    peer_seconds = median_seconds(
        _peft_start, repeats=repeats, prepare=lambda: (copy.deepcopy(model), case)
    )
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    label, peft = f"{size:.0f} M, {case.label}", f"peft {case.peft_name}"
    for start, seconds in (("first", first_seconds), ("second", second_seconds)):
        report.add(f"{label}, {start} start", seconds, "s", peer=peft, peer_value=peer_seconds)
    share = second_seconds / first_seconds
    report.add(f"{label}, second of first", share, "", goal=Goal("<=", 0.05))


def _exactness(report: Report, model: Any, case: Case, directory: Path) -> None:
    """How far a start is from the base, a second from the first, the published from the trained."""
    ours, peers = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ours.append(copy.deepcopy(model))
        _start(ours[-1], Storage(str(directory / "storage")), _spec(case, "exactness"))
        peers.append(_peft_start(copy.deepcopy(model), case))
    originals = {name: layer.weight for name, layer in lora.target_layers(model).items()}
    worst = max(pissa.relative_error(originals[n], a) for n, a in lora.adapters_of(ours[0]))
    report.add("‖W_res + sBA − W‖ / ‖W‖, worst layer", worst, "", goal=Goal("<=", 1e-6))
    report.add(
        "factors of two starts differ by",
        _drift([dict(lora.adapter_state(model)) for model in ours]),
        "",
        peer="peft, restarted",
        peer_value=_drift([_peft_factors(model) for model in peers]),
        goal=Goal("<=", 0.0),
    )
    trained = _train(ours[0], steps=3)
    model.save_pretrained(directory / "base")
    base = BaseModel("benchmark", str(directory / "base"))
    publish.publish_adapter(trained, directory / "adapter", base)
    published = PeftModel.from_pretrained(copy.deepcopy(model), directory / "adapter").eval()
    ids = torch.randint(0, model.config.vocab_size, (2, 64))
    with torch.inference_mode():
        difference = (published(ids).logits - trained(ids).logits).abs().max()
    report.add(
        "logits, published LoRA in PEFT − trained", float(difference), "", goal=Goal("<=", 1e-4)
    )


def _drift(states: list[dict[str, torch.Tensor]]) -> float:
    """Largest relative difference between the products BA of two starts."""

    def product(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        return state[f"{name}.lora_B"] @ state[f"{name}.lora_A"]

    names = [key.removesuffix(".lora_A") for key in states[0] if key.endswith(".lora_A")]
    pairs = [(product(states[0], name), product(states[1], name)) for name in names]
    return max(float((one - other).norm() / one.norm()) for one, other in pairs)


def _peft_factors(model: Any) -> dict[str, torch.Tensor]:
    state = {}
    for name, parameter in model.named_parameters():
        for side in ("lora_A", "lora_B"):
            suffix = f".{side}.default.weight"
            if name.endswith(suffix):
                state[f"{name.removesuffix(suffix)}.{side}"] = parameter.detach()
    return state


def _train(model: Any, *, steps: int) -> Any:
    optimizer = torch.optim.AdamW([p for _, p in lora.trainable_parameters(model)], lr=1e-3)
    for _ in range(steps):
        ids = torch.randint(0, model.config.vocab_size, (2, 64))
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


if __name__ == "__main__":
    main()
