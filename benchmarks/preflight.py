"""Preflight: how far the estimated memory of a worker is from what it really occupies at most.

Each of ten configurations trains for real, in a process of its own, from a random model of that
size on disk to a published and compared adapter; its peak resident memory is held against the
estimate that admission goes by.

    python benchmarks/preflight.py [--quick] [--json PATH]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import Goal, Report, arguments

from aiforge.modeling.bases import FORGE_TINY_DIR, BaseModel, read_config
from aiforge.modeling.linears import Shape
from aiforge.schemas.jobs import JobConfig
from aiforge.training import estimate

TOLERANCE = 0.25
"""Largest error that is tolerated, as a share of what was measured."""


MEAN_TOKENS = 190
"""Of the examples below."""


@dataclass(frozen=True)
class Case:
    """A Llama of this width and depth (``None``: forge-tiny itself), and what differs of a job."""

    hidden: int | None
    layers: int
    vocabulary: int = 4096
    length: int = 512
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How the table calls it."""
        model = f"h{self.hidden} l{self.layers} v{self.vocabulary}" if self.hidden else "forge-tiny"
        options = " ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{model} {self.length} {options}".strip()


CASES = [
    Case(None, 0),
    Case(None, 0, options={"method": "full"}),
    Case(384, 6),
    Case(384, 6, length=1024, options={"batch_size": 8}),
    Case(768, 8),
    Case(768, 8, options={"activation_checkpointing": True}),
    Case(768, 8, options={"rank": 128, "batch_size": 8}),
    Case(768, 8, options={"method": "full"}),
    Case(768, 8, vocabulary=32000, options={"batch_size": 8}),
    Case(1024, 12, options={"quantize_base": True}),
]


def main() -> None:
    """Measure and report, or be one of the workers."""
    if len(sys.argv) > 2 and sys.argv[1] == "--worker":
        print(json.dumps(_train(Case(**json.loads(sys.argv[2])))))
        return
    options = arguments(__doc__)
    report = Report("Preflight: peak memory of a worker")
    errors = []
    for case in CASES[:3] if options.quick else CASES:
        command = [sys.executable, __file__, "--worker", json.dumps(asdict(case))]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{case.label} failed:\n{done.stderr[-3000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        error = found["estimated"] / found["measured"] - 1
        errors.append(abs(error))
        print(f"{case.label}: {error:+.0%}", file=sys.stderr)
        report.add(
            case.label,
            found["measured"] / 2**20,
            "MiB",
            peer="estimate",
            peer_value=found["estimated"] / 2**20,
        )
    report.add("largest error", max(errors), "", goal=Goal("<=", TOLERANCE))
    report.add("mean error", sum(errors) / len(errors), "")
    report.finish(options.json)


def _train(case: Case) -> dict[str, int]:
    """Train a few steps under DeepSpeed in a group of one, as a worker of a cluster does."""
    import torch

    from aiforge.storage import Storage
    from aiforge.training.group import GroupSession
    from aiforge.training.plan import Silence, TrainPlan
    from aiforge.training.prepare import dataset_files, finish, pack_file, pack_key
    from aiforge.training.worker import run

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        base = _base(case, path / "base")
        values: dict[str, Any] = {"rank": 16, "batch_size": 4, "gradient_accumulation": 1}
        config = JobConfig(**(values | {"max_seq_length": case.length, "epochs": 1} | case.options))
        _dataset(path / "store" / "dataset", case)
        plan = TrainPlan("job-1", base, config, str(path / "store"), "dataset")
        storage = Storage(plan.storage_uri)
        key, files = pack_key(storage, plan), dataset_files(storage, plan.dataset_path)
        packed = [(file, pack_file(storage, plan, key, file)) for file in files]
        prepared = finish(storage, key, packed)
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "DS_ACCELERATOR": "cpu"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        store = torch.distributed.FileStore(str(path / "meeting"), 1)
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
        session = GroupSession(0, 1, 1, torch.device("cpu"), path / "checkpoint")
        run(plan, prepared, session, Silence())
        shape = Shape.of(read_config(base))
        estimated = estimate.estimate(shape, config, plan.max_length, "cpu").peak
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"measured": measured, "estimated": estimated}


def _base(case: Case, directory: Path) -> BaseModel:
    if case.hidden is None:
        return BaseModel("forge-tiny", str(FORGE_TINY_DIR))
    # Made by another process: making a model must not count as training it.
    code = (
        "import sys, torch; from transformers import LlamaConfig, LlamaForCausalLM; "
        f"LlamaForCausalLM(LlamaConfig(vocab_size={case.vocabulary}, hidden_size={case.hidden}, "
        f"intermediate_size={case.hidden * 11 // 4}, num_hidden_layers={case.layers}, "
        f"num_attention_heads={case.hidden // 64}, num_key_value_heads={case.hidden // 128}, "
        "max_position_embeddings=2048, tie_word_embeddings=True)).save_pretrained(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True, capture_output=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (FORGE_TINY_DIR / name).is_file():
            (directory / name).write_bytes((FORGE_TINY_DIR / name).read_bytes())
    return BaseModel("random", str(directory))


def _dataset(directory: Path, case: Case) -> None:
    """Enough examples for four full steps: a step has its moments from the one before.

    They are of many lengths, as those of repositories are, so that packed rows are full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = ["def", "area", "of", "width", "and", "height", "returns", "the", "product"]
    count = 4 * case.options.get("batch_size", 4) * case.length // MEAN_TOKENS
    rows = [
        {
            "instruction": f"What does f{number} do?",
            "input": " ".join(words * (number * 7 % 23)),
            "output": " ".join(words * (1 + number % 5)),
        }
        for number in range(count)
    ]
    (directory / "train").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), directory / "train" / "part-0.parquet")


if __name__ == "__main__":
    main()
