"""A small corpus with all kinds of questions, and what a build of it left on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from aiforge.raft.build import BuildResult, SnapshotRef
from aiforge.storage import Storage

Write = Callable[..., SnapshotRef]
Run = Callable[..., BuildResult]

ANIMALS = ("badger", "cormorant", "dormouse", "egret", "ferret", "gannet", "heron", "ibex")


def module(name: str) -> str:
    """A module with documented functions, a caller, and long bodies."""
    return f'''"""All about the {name}."""

from __future__ import annotations


class {name.title()}Keeper:
    """Keeps every {name} in one place and remembers how many there are."""

    def feed_{name}(self, grams: int, at_night: bool = False) -> float:
        """Feed one {name} and return how much of the {name} food is left in kilograms."""
        left = self.store - grams / 1000
        if at_night:
            left -= 0.5
        if left < 0:
            raise ValueError("no {name} food is left")
        self.store = left
        return left


def count_{name}s(fields: list[str], limit: int | None = None) -> int:
    """Count each {name} that stands in the given fields, up to a limit."""
    total = 0
    for number, field in enumerate(fields):
        if "{name}" in field:
            total += number
        if limit is not None and total >= limit:
            total = limit
            break
    return total


def report_{name}(fields: list[str]) -> str:
    """Say in one line of text how many {name} animals were counted today."""
    number = count_{name}s(fields)
    return f"{{number}} {name}s"
'''


def corpus_files() -> dict[str, str]:
    """Paths and texts: eight modules, their tests, and documents."""
    files = {f"zoo/{name}.py": module(name) for name in ANIMALS}
    for name in ANIMALS[:4]:
        files[f"tests/test_{name}.py"] = (
            f"from zoo.{name} import count_{name}s\n\n\n"
            f"def test_counting_{name}s():\n"
            f'    fields = ["{name}", "none", "{name}"]\n'
            f"    assert count_{name}s(fields) == 2\n"
        )
        files[f"docs/{name}.md"] = (
            f"# The {name}\n\nThe {name} lives where water and {name} food are near.\n\n"
            f"## Care of a {name}\n\nFeed the {name} twice a day, and never on a Sunday.\n"
        )
    return files


def rows_of(storage: Storage, split: str, dataset_id: str = "ds-1") -> list[dict[str, Any]]:
    """The rows of one split of a dataset."""
    directory = Path(storage.full(f"datasets/{dataset_id}/{split}"))
    tables = [pq.read_table(path) for path in sorted(directory.glob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def build_until_killed(
    storage_uri: str, tokenizer_json: str, snapshot: SnapshotRef, at: str
) -> None:
    """A build in this process, which is killed when the second block of a stage is done."""
    import os
    import signal

    from aiforge.raft.build import Build
    from aiforge.raft.stages import map_here
    from aiforge.schemas.datasets import RaftConfig

    seen = 0

    def progress(_part: float, stage: str, _made: int) -> None:
        nonlocal seen
        seen += stage == at
        if seen == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    config = RaftConfig(validation_fraction=0.25)
    storage = Storage(storage_uri)
    arguments = (config, 1000, "alpaca", tokenizer_json, map_here, progress)
    Build(storage, "ds-1", [snapshot], *arguments).run()  # type: ignore[arg-type]
