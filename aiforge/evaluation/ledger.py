"""What a model has said already: each batch is kept as soon as it is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiforge.modeling.generate import Completion, Generator, Prompt, Sampling
from aiforge.storage import Storage, measured_dir

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """One thing to complete; ``id`` is unique within a suite."""

    id: str
    prompt: Prompt


class Ledger:
    """Completions of one model under one way of asking, in the storage.

    Args:
        identity: All that a completion depends on beside its task.
    """

    def __init__(self, storage: Storage, identity: Mapping[str, Any]) -> None:
        self._storage = storage
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._directory = measured_dir(digest[:32])

    def known(self) -> dict[str, Completion]:
        """Every completion by its task's key."""
        found: dict[str, Completion] = {}
        for name in self._storage.names(self._directory):
            if name.endswith(".json") and not name.startswith("."):
                batch = self._storage.read_json(f"{self._directory}/{name}")
                found |= {key: Completion(**values) for key, values in batch.items()}
        return found

    def add(self, batch: Mapping[str, Completion]) -> None:
        """Keep completions; they are durable when this returns."""
        digest = hashlib.sha256("\n".join(sorted(batch)).encode()).hexdigest()
        self._storage.write_json(
            f"{self._directory}/{digest[:24]}.json",
            {key: asdict(completion) for key, completion in batch.items()},
        )


def _key(task: Task) -> str:
    """Of a task and its very prompt, so that another prompt of the same name is another task."""
    ids = ",".join(map(str, task.prompt.ids))
    return f"{task.id}#{task.prompt.sample}#{hashlib.sha256(ids.encode()).hexdigest()[:16]}"


def complete_all(
    generator: Generator,
    tasks: Sequence[Task],
    sampling: Sampling,
    ledger: Ledger,
    progress: Progress,
) -> list[Completion]:
    """Complete tasks in batches; what the ledger holds is not generated again.

    Args:
        progress: Called with the share done; what it raises stops the work between two batches.
    """
    known = ledger.known()
    open_tasks = [task for task in tasks if _key(task) not in known]
    done = len(tasks) - len(open_tasks)
    prompts = [task.prompt for task in open_tasks]
    for positions in generator.batches(prompts, sampling):
        progress(done / len(tasks))
        batch = [open_tasks[position] for position in positions]
        completions = generator.complete([task.prompt for task in batch], sampling)
        fresh = {_key(task): one for task, one in zip(batch, completions, strict=True)}
        ledger.add(fresh)
        known |= fresh
        done += len(batch)
    progress(1.0)
    return [known[_key(task)] for task in tasks]
