"""A comparison of small random models on small material; as a script it runs one, to be killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tiny_models import make_base

from aiforge.evaluation.compare import Comparison, Subject
from aiforge.evaluation.ledger import Ledger
from aiforge.modeling import lora
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.generate import Completion
from aiforge.modeling.load import load_model
from aiforge.modeling.publish import publish_adapter
from aiforge.schemas.validations import (
    CodeBleuSize,
    ExamSize,
    HumanEvalSize,
    LatencySize,
    Measures,
)
from aiforge.storage import Storage, adapter_dir

OWN_PROBLEMS = Path(__file__).parent / "problems.jsonl"
ANSWER = "##Answer:\n```python\ndef area{0}(w, h):\n    total{0} = w * h\n    return total{0}\n```"
ROWS: list[dict[str, Any]] = [
    {"instruction": f"Write area{n}.", "input": "", "output": ANSWER.format(n)} for n in range(5)
] + [{"instruction": "What is a shape?", "input": "", "output": "A class."}]
MEASURES = Measures(
    codebleu=CodeBleuSize(examples=4, max_new_tokens=12),
    humaneval=HumanEvalSize(problems=6, samples=2, temperature=0.8, max_new_tokens=12),
    exam=ExamSize(items=0),
    latency=LatencySize(requests=3, max_new_tokens=4),
)


def prepare(root: Path, *jobs: str) -> Comparison:
    """Base, and a candidate with an adapter for each of the jobs."""
    base = make_base(root / "base", max_position_embeddings=2048)
    storage = Storage(str(root / "storage"))
    subjects = [Subject("base", base)]
    for number, job in enumerate(jobs):
        publish(storage, base, job, number)
        subjects.append(Subject("candidate" if not number else "active", base, adapter_dir(job)))
    rows = Path(storage.full("datasets/d/validation"))
    rows.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(ROWS), rows / "part-0.parquet")
    return Comparison(
        subjects=tuple(subjects),
        storage_uri=storage.uri,
        rows_path="datasets/d/validation",
        exam_path="datasets/d/exam.json",
        max_length=512,
        measures=MEASURES,
        humaneval=str(OWN_PROBLEMS),
    )


def publish(storage: Storage, base: BaseModel, job: str, seed: int) -> None:
    """An adapter that changes the model."""
    model = load_model(base)
    torch.manual_seed(seed)
    for adapter in lora.inject(model, rank=2, alpha=2).values():
        torch.nn.init.normal_(adapter.lora_B, std=0.3)
    publish_adapter(model, Path(storage.full(adapter_dir(job))), base)


def main() -> None:
    """Run a comparison that stops for ever once the ledger holds some batches."""
    comparison = prepare(Path(sys.argv[1]), "job-1")
    add = Ledger.add
    batches = 0

    def slow(self: Ledger, batch: dict[str, Completion]) -> None:
        nonlocal batches
        add(self, batch)
        batches += 1
        if batches == 2:
            print("kept", flush=True)
            time.sleep(600)

    Ledger.add = slow  # type: ignore[method-assign, assignment]
    comparison.run(lambda share, stage: None)


if __name__ == "__main__":
    main()
