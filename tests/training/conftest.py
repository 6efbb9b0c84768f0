"""A base model of a few thousand weights, a dataset, and plans on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiforge.modeling.bases import BaseModel
from aiforge.schemas.jobs import JobConfig
from aiforge.training.plan import TrainPlan

MakePlan = Callable[..., TrainPlan]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with one thread: these matrices are small, and other work runs beside the tests."""
    import torch

    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    torch.set_num_threads(1)


EXAMPLES = [
    {
        "instruction": f"What does `add_{number}` do?",
        "input": f"`m.py`\n```python\ndef add_{number}(x):\n    return x + {number}\n```",
        "output": f"It adds {number} to its argument and returns the sum.",
    }
    for number in range(60)
]


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A random Llama with a tokenizer of its own."""
    import torch

    from aiforge.training.pretrain import Recipe, build_model
    from aiforge.training.tiny_tokenizer import save_tokenizer, train_tokenizer

    directory = tmp_path_factory.mktemp("base")
    texts = [text for row in EXAMPLES for text in row.values()]
    tokenizer = train_tokenizer(texts, 300)
    recipe = Recipe(
        vocabulary=tokenizer.get_vocab_size(),
        hidden=32,
        intermediate=64,
        layers=2,
        context=256,
    )
    torch.manual_seed(0)
    build_model(recipe).save_pretrained(directory)
    save_tokenizer(tokenizer, directory, recipe.context)
    return BaseModel("small", str(directory))


@pytest.fixture
def make_plan(small_base: BaseModel, tmp_path: Path) -> MakePlan:
    """A function that makes a plan for the small base on the examples above."""
    for split, rows in (("train", EXAMPLES[8:]), ("validation", EXAMPLES[:8])):
        for part in range(2):
            path = tmp_path / "store" / "dataset" / split / f"part-{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows[part::2]), path)

    def make(job_id: str = "job-1", *, checkpoint_every: int = 5, **config: Any) -> TrainPlan:
        values = {"rank": 4, "learning_rate": 1e-2, "batch_size": 2, "gradient_accumulation": 1}
        return TrainPlan(
            job_id,
            small_base,
            JobConfig(**(values | config)),
            str(tmp_path / "store"),
            "dataset",
            checkpoint_every=checkpoint_every,
        )

    return make
