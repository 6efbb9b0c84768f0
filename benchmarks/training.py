"""Training: tokens per second and memory beside TRL's SFTTrainer with PEFT, on the same documents.

Every contender trains the same LoRA from the same start on the same documents, in a process of
its own; where two see the same documents in a step their losses must agree. Tokens are those of
documents, never padding. Needs the peer: pip install trl datasets

    python benchmarks/training.py [--quick] [--json PATH]
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Goal, Report, arguments

from aiforge.modeling import lora
from aiforge.modeling.linears import Shape
from aiforge.training import attention
from aiforge.training.data import IGNORED, BatchPlan, PackedRows, Row, document, pack
from aiforge.training.engine import LocalEngine, adamw
from aiforge.training.flops import StepFlops, peak_flops
from aiforge.training.loop import Hooks, LoopConfig, train
from aiforge.training.loss import CausalLoss
from aiforge.training.schedule import Schedule

RATE = 2e-4
WARMUP = 2
"""Steps before the clock starts."""

MEAN_LENGTH, TRAINED_SHARE = 148, 0.35


@dataclass(frozen=True)
class Size:
    """A model, the rows it is trained on, and how many documents one step has unpacked."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    capacity: int
    documents: int = 16
    rank: int = 16


SIZES = {
    "10M": Size(8192, 256, 1024, 6, 4, 2, 512),
    "1B": Size(128256, 2048, 8192, 16, 32, 8, 4096, 64),
    "3B": Size(128256, 3072, 8192, 28, 24, 8, 4096, 64),
    "8B": Size(128256, 4096, 14336, 32, 32, 8, 4096, 32),
}
ON_GPU = ("1B", "3B", "8B")


def main() -> None:
    """Measure and report, or be one of the contenders."""
    if len(sys.argv) > 1 and sys.argv[1] == "--contender":
        name, size, steps = sys.argv[2:5]
        print(json.dumps(CONTENDERS[name](SIZES[size], int(steps))))
        return
    options = arguments(__doc__)
    steps = 5 if options.quick else 9
    report = Report("Training beside TRL")
    with_peer = all(map(importlib.util.find_spec, ("trl", "datasets")))
    if not with_peer:
        print("TRL is not there to compare with: pip install trl datasets", file=sys.stderr)
    sizes = ON_GPU if torch.cuda.is_available() else ("10M",)
    for size in sizes:
        _compare(report, size, steps, with_peer)
    if not torch.cuda.is_available():
        _scaling(report, steps)
    report.finish(options.json)


def _compare(report: Report, size: str, steps: int, with_peer: bool) -> None:
    found = {
        name: _contend(name, size, steps)
        for name in CONTENDERS
        if with_peer or not name.startswith("trl")
    }
    unpacked = found.get("trl unpacked")
    peers = {name: one for name, one in found.items() if name.startswith("trl")}
    best = max(peers, key=lambda name: peers[name]["rate"], default=None)
    for name, one in found.items():
        report.add(f"{size} {name}", one["rate"], "tokens/s", better="higher")
        report.add(f"{size} {name}, peak memory", one["memory"] / 2**20, "MiB")
    ours = found["ours packed"]
    if unpacked and best:
        for peer, goal in (("trl unpacked", 2.5), (best, 1.5)):
            report.add(
                f"{size} ours packed",
                ours["rate"],
                "tokens/s",
                peer=peer,
                peer_value=peers[peer]["rate"],
                better="higher",
                goal=Goal(">=", goal, "ratio"),
            )
        difference = _difference(found["ours unpacked"]["losses"], unpacked["losses"])
        tolerance = 1e-3 if size == "10M" else 3e-2
        report.add(
            f"{size} losses of {steps} equal steps differ by", difference, "",
            peer="trl unpacked", goal=Goal("<=", tolerance),
        )  # fmt: skip
    if ours["mfu"] is not None:
        report.add(f"{size} MFU", ours["mfu"], "", better="higher", goal=Goal(">=", 0.5))


def _difference(ours: list[float], theirs: list[float]) -> float:
    pairs = list(zip(ours, theirs, strict=True))
    return max(abs(one - other) for one, other in pairs)


def _contend(name: str, size: str, steps: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--contender", name, size, str(steps)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _model(size: Size) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=size.capacity,
        tie_word_embeddings=True,
    )
    device, dtype = _device()
    with torch.device(device):
        return LlamaForCausalLM(config).to(dtype)


def _device() -> tuple[torch.device, torch.dtype]:
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16
    return torch.device("cpu"), torch.float32


def _documents(size: Size, count: int) -> list[tuple[list[int], list[int]]]:
    """Ids and labels; lengths spread as those of questions about code."""
    generator = np.random.default_rng(0)
    mean = MEAN_LENGTH * size.capacity / 512
    lengths = generator.lognormal(np.log(mean) - 0.32, 0.8, count).astype(int)
    documents = []
    for length in np.clip(lengths, 16, size.capacity):
        ids = (generator.zipf(1.3, length) % size.vocabulary).tolist()
        prompt = int(length * (1 - TRAINED_SHARE))
        documents.append((ids, [IGNORED] * prompt + ids[prompt:]))
    return documents


def _memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _rate(tokens: list[int], seconds: list[float]) -> float:
    return sum(tokens[WARMUP:]) / sum(seconds[WARMUP:])


# Ours ------------------------------------------------------------------------------------------


def _ours(size: Size, steps: int, *, packed: bool) -> dict[str, Any]:
    documents = [document(*one) for one in _documents(size, size.documents * steps)]
    if packed:
        rows = pack(documents, size.capacity)
        per_step = max(1, round(len(rows) / steps))
        data = _InOrder(PackedRows.of(rows), seed=0, rows_per_step=per_step)
        micro = 1 if torch.cuda.is_available() else per_step
    else:
        data = _InOrder(PackedRows.of(documents), seed=0, rows_per_step=size.documents)
        micro = 4
    return _run(_engine(size), data, size, min(steps, data.steps), micro)


class _InOrder(BatchPlan):
    """Rows as they stand, so that the peer can be given the same."""

    def indices(self, step: int) -> list[int]:
        first = step * self.rows_per_step
        return list(range(first, min(first + self.rows_per_step, len(self.rows))))


def _engine(size: Size, engine: Callable[..., Any] = LocalEngine) -> Any:
    attention.register()
    model = _model(size)
    model.set_attn_implementation(attention.NAME)
    lora.inject(model, rank=size.rank, alpha=size.rank)
    device, _ = _device()
    model.train()
    return engine(CausalLoss(model), lambda named: [adamw(named, 0.0, (0.9, 0.999))], device=device)


def _run(engine: Any, data: BatchPlan, size: Size, steps: int, micro: int) -> dict[str, Any]:
    losses, tokens, seconds, utilizations = [], [], [], []
    peak = peak_flops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    config = LoopConfig(
        Schedule(RATE, steps, shape="constant"),
        micro_batch=micro,
        flops=StepFlops(_shape(size), _trained(size)),
        peak=peak,
    )
    began = time.perf_counter()

    def on_point(point: Any) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds.append(now - began)
        began = now
        losses.append(point.loss)
        tokens.append(sum(data.document_lengths(point.step - 1)))
        utilizations.append(point.mfu)

    train(engine, data, config, Hooks(on_point=on_point))
    known = [value for value in utilizations[WARMUP:] if value is not None]
    return {
        "rate": _rate(tokens, seconds),
        "memory": _memory(),
        "losses": losses,
        "seconds": seconds,
        "mfu": statistics.fmean(known) if known else None,
    }


def _shape(size: Size) -> Shape:
    return Shape.of(
        {
            "model_type": "llama",
            "hidden_size": size.hidden,
            "intermediate_size": size.intermediate,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "vocab_size": size.vocabulary,
            "tie_word_embeddings": True,
        }
    )


def _trained(size: Size) -> int:
    return _shape(size).adapter(size.rank, None)


# TRL -------------------------------------------------------------------------------------------


def _trl(size: Size, steps: int, **options: Any) -> dict[str, Any]:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    documents = _documents(size, size.documents * steps)
    lengths = [len(ids) for ids, _ in documents]
    model = _model(size)
    on_gpu = torch.cuda.is_available()
    losses: list[float] = []
    stamps: list[float] = [0.0]

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            if stamps == [0.0]:
                stamps[0] = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            stamps.append(time.perf_counter())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        settings: dict[str, Any] = {
            "output_dir": scratch,
            "max_steps": steps,
            "learning_rate": RATE,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "optim": "adamw_torch_fused",
            "max_length": size.capacity,
            "train_sampling_strategy": "sequential",
            "logging_steps": 1,
            "logging_strategy": "steps",
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "bf16": on_gpu,
            "use_cpu": not on_gpu,
            "dataloader_pin_memory": on_gpu,
        }
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**(settings | options)),
            train_dataset=Dataset.from_list([{"input_ids": i, "labels": t} for i, t in documents]),
            processing_class=PreTrainedTokenizerFast(
                tokenizer_object=_any_tokenizer(), eos_token="</s>", pad_token="</s>"
            ),
            peft_config=LoraConfig(
                r=size.rank, lora_alpha=size.rank, target_modules=list(lora.DEFAULT_TARGETS[:7])
            ),
            callbacks=[Clock()],
        )
        _same_start(trainer.model, size)
        trainer.train()
        if options.get("packing"):
            lengths = [sum(row["seq_lengths"]) for row in trainer.train_dataset]
    args = trainer.args
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps
    tokens = [sum(lengths[at * per_step : (at + 1) * per_step]) for at in range(len(stamps) - 1)]
    seconds = [after - before for before, after in pairwise(stamps)]
    return {"rate": _rate(tokens, seconds), "memory": _memory(), "losses": losses, "mfu": None}


def _any_tokenizer() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"</s>": 0}, unk_token="</s>"))


def _same_start(model: Any, size: Size) -> None:
    """Give PEFT's adapters the values that ours start from."""
    parameters = dict(model.named_parameters())
    for name, layer in lora.target_layers(_model(size)).items():
        bound = layer.in_features**-0.5
        drawn = torch.empty(size.rank, layer.in_features)
        drawn.uniform_(-bound, bound, generator=lora.layer_generator(0, name))
        parameters[f"base_model.model.{name}.lora_A.default.weight"].data.copy_(drawn)


# Two workers -----------------------------------------------------------------------------------


def _scaling(report: Report, steps: int) -> None:
    """One worker with one thread against two, each with the same rows: weak scaling."""
    one, two = (_workers(count, steps) for count in (1, 2))
    report.add("one worker, one thread", one["rate"], "tokens/s", better="higher")
    report.add(
        "two workers, one thread each",
        two["rate"],
        "tokens/s",
        peer="twice one worker",
        peer_value=2 * one["rate"],
        better="higher",
    )
    report.add("share of communication, two workers", two["communication"], "")


def _workers(count: int, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch)
        torch.multiprocessing.spawn(_worker, args=(count, steps, path), nprocs=count)
        result: dict[str, Any] = json.loads((path / "result.json").read_text())
        return result


def _worker(rank: int, world: int, steps: int, directory: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29571", "DS_ACCELERATOR": "cpu"}
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(str(directory / "store"), world)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world, store=store)
    from aiforge.training.deepspeed_config import shipped_config
    from aiforge.training.deepspeed_engine import DeepSpeedEngine

    size = SIZES["10M"]
    documents = [document(*one) for one in _documents(size, size.documents * steps * world)]
    rows: list[Row] = pack(documents, size.capacity)
    per_step = max(world, round(len(rows) / steps) // world * world)
    data = _InOrder(PackedRows.of(rows), seed=0, rows_per_step=per_step)
    make = partial(DeepSpeedEngine, config=shipped_config(1))
    engine = _engine(size, make)
    with _communication() as spent:
        result = _run(engine, data, size, min(steps, data.steps), per_step // world)
    if rank == 0:
        share = sum(spent) / sum(result.pop("seconds"))
        (directory / "result.json").write_text(json.dumps(result | {"communication": share}))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _communication() -> Iterator[list[float]]:
    """Seconds that collective operations take, waiting for the other worker included."""
    from torch import distributed

    spent: list[float] = []
    names = ("all_reduce", "all_gather_into_tensor", "reduce_scatter_tensor", "broadcast")
    originals = {name: getattr(distributed, name) for name in names}

    def timed(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        work = original(*args, **kwargs)
        if work is not None:
            work.wait()
        spent.append(time.perf_counter() - began)
        return work

    for name, original in originals.items():
        setattr(distributed, name, partial(timed, original))
    try:
        yield spent
    finally:
        for name, original in originals.items():
            setattr(distributed, name, original)


CONTENDERS: dict[str, Callable[[Size, int], dict[str, Any]]] = {
    "trl default": partial(
        _trl, per_device_train_batch_size=8, gradient_accumulation_steps=2,
    ),
    "trl unpacked": partial(
        _trl,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        gradient_checkpointing=False,
    ),
    "trl packed": partial(
        _trl,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=4,
        gradient_checkpointing=False,
        packing=True,
    ),
    "ours unpacked": partial(_ours, packed=False),
    "ours packed": partial(_ours, packed=True),
}  # fmt: skip

if __name__ == "__main__":
    main()
