"""PiSSA, LoRA and all weights on forge-tiny: held-out loss over learning rates and seeds.

Each method trains on sources that forge-tiny has never seen, with the same rows for the same seed;
what is reported is the loss on held-out files, with 95 % intervals over the seeds, for every
learning rate of its sweep, whichever method it favours. A run takes seconds, and there are 75 of
them: ``--runs`` keeps each one's loss as it ends, so that an interrupted sweep goes on.

    python benchmarks/pissa_quality.py [--quick] [--json PATH] [--runs PATH]
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import statistics
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from common import Report, arguments
from tokenizers import Tokenizer

from aiforge.modeling import lora, pissa
from aiforge.modeling.bases import FORGE_TINY_DIR, BaseModel, content_hash
from aiforge.modeling.load import load_model
from aiforge.storage import Storage
from aiforge.training import attention
from aiforge.training.data import BatchPlan, PackedRows, Row, document, pack
from aiforge.training.engine import LocalEngine, adamw
from aiforge.training.loop import Hooks, LoopConfig, evaluate, train
from aiforge.training.loss import CausalLoss
from aiforge.training.schedule import Schedule
from aiforge.training.stdlib_corpus import read_files

PACKAGE = "httpx"
HELD_OUT_ONE_IN = 5
RANK = 16
PIECE, ROW, ROWS_PER_STEP, HELD_OUT_ROWS = 256, 512, 4, 20
SWEEPS = {
    "pissa": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "lora": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "full": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}
T_QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t, two-sided 95 %, by the number of seeds."""

BASE = BaseModel("forge-tiny", str(FORGE_TINY_DIR))


@dataclass(frozen=True)
class Data:
    """Rows to train on and rows that are held out."""

    train: PackedRows
    held_out: PackedRows


@dataclass(frozen=True)
class Run:
    """One training: what its held-out loss depends on."""

    method: str
    rate: float
    seed: int
    steps: int

    @property
    def key(self) -> str:
        """The address of its loss among those that were kept."""
        version = importlib.metadata.version(PACKAGE)
        return f"{content_hash(BASE)[:12]} {PACKAGE} {version} {self}"


def main() -> None:
    """Sweep, and report each method's best learning rate beside the others'."""
    options = arguments(__doc__, runs="keep each run's loss there, and go on from it")
    report = Report("PiSSA, LoRA and all weights on forge-tiny")
    found = _sweep(_data(), options.runs, quick=options.quick)
    before = evaluate(_engine(None, 0, storage=None), _data().held_out, 1)
    report.add("held-out loss, forge-tiny before", before, "nats/token")
    best = {}
    for method, by_rate in found.items():
        for rate, losses in by_rate.items():
            report.add(f"held-out loss, {method}, lr {rate:g}", *_described(losses))
        best[method] = min(by_rate.values(), key=statistics.fmean)
    for peer in ("lora", "full"):
        pairs = zip(best["pissa"], best[peer], strict=True)
        report.add(f"pissa − {peer}, each at its best rate", *_described([a - b for a, b in pairs]))
    report.finish(options.json)


def _sweep(data: Data, kept: Path | None, *, quick: bool) -> dict[str, dict[float, list[float]]]:
    """Held-out losses, one for each seed, by method and learning rate."""
    lines = kept.read_text().splitlines() if kept is not None and kept.exists() else []
    losses: dict[str, float] = dict(json.loads(line) for line in lines)
    seeds, steps = range(2 if quick else 5), 8 if quick else 24
    with tempfile.TemporaryDirectory() as directory:
        storage = Storage(directory)

        def loss(run: Run) -> float:
            if run.key not in losses:
                losses[run.key] = _run(run, data, storage)
                if kept is not None:
                    with kept.open("a") as file:
                        file.write(json.dumps([run.key, losses[run.key]]) + "\n")
            return losses[run.key]

        found: dict[str, dict[float, list[float]]] = {method: {} for method in SWEEPS}
        # Seed by seed, so that what an interrupted sweep has kept covers every method and rate.
        for seed, (method, rates) in product(seeds, SWEEPS.items()):
            for rate in rates[1:3] if quick else rates:
                found[method].setdefault(rate, []).append(loss(Run(method, rate, seed, steps)))
        return found


def _described(values: list[float]) -> tuple[float, str]:
    """Mean and, as its unit, the half-width of its 95 % interval."""
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), f"± {T_QUANTILE[len(values)] * spread:.4f} nats/token"


def _run(run: Run, data: Data, storage: Storage) -> float:
    engine = _engine(run.method, run.seed, storage)
    epochs = math.ceil(run.steps * ROWS_PER_STEP / len(data.train))
    batches = BatchPlan(data.train, seed=run.seed, rows_per_step=ROWS_PER_STEP, epochs=epochs)
    config = LoopConfig(Schedule(run.rate, run.steps, warmup=3), micro_batch=ROWS_PER_STEP)
    train(engine, batches, config, Hooks())
    return evaluate(engine, data.held_out, 4)


def _engine(method: str | None, seed: int, storage: Storage | None) -> LocalEngine:
    torch.manual_seed(seed)
    model = load_model(BASE, attention=attention.register())
    if method in ("pissa", "lora"):
        drawn = None if method == "pissa" else seed
        adapters = lora.inject(model, rank=RANK, alpha=RANK, seed=drawn)
        if method == "pissa":
            assert storage is not None
            spec = pissa.FactorSpec(
                content_hash(BASE), tuple(adapters), RANK, RANK, 8, seed, "float32"
            )
            factors, _ = pissa.ensure_factors(storage, spec, pissa.layer_weights(adapters))
            pissa.apply_factors(adapters, factors)
    return LocalEngine(CausalLoss(model), lambda named: [adamw(named, 0.0, (0.9, 0.999))])


def _data() -> Data:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    sources = read_files(Path(spec.origin).parent)
    tokenizer = Tokenizer.from_file(str(FORGE_TINY_DIR / "tokenizer.json"))

    def documents(chosen: list[str]) -> list[Row]:
        ids = (tokenizer.encode(text).ids for text in chosen)
        pieces = (one[at : at + PIECE] for one in ids for at in range(0, len(one), PIECE))
        return [document(piece, piece) for piece in pieces if len(piece) > 1]

    texts = [source.text for source in sources]
    kept = [text for index, text in enumerate(texts) if index % HELD_OUT_ONE_IN]
    held_out = pack(documents(texts[::HELD_OUT_ONE_IN]), ROW)
    return Data(PackedRows.of(pack(documents(kept), ROW)), PackedRows.of(held_out[:HELD_OUT_ROWS]))


if __name__ == "__main__":
    main()
