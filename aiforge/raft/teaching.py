"""The part of a teacher in a build: which chunks it is asked about, and what its answers become."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft.extras import Extras, fact_of
from aiforge.raft.names import hashed
from aiforge.raft.packs import read_arrow
from aiforge.raft.stages import Mapper, Numbered, usable
from aiforge.raft.survey import Survey
from aiforge.raft.teacher import Account, Ask, TeacherPlan
from aiforge.raft.teacher_prompts import TeacherTask
from aiforge.schemas.datasets import StageYield, TeacherUse
from aiforge.storage import Storage

# How many more questions are asked for than examples are wanted: some are not believed.
_RESERVE = 1.2
_MIN_WORDS = 12
_SEPARATOR = "\0"


@dataclass(frozen=True)
class OrderTask:
    """What putting chunks in order needs beside a block."""

    storage_uri: str
    seed: int


@dataclass(frozen=True)
class TextsTask:
    """What reading texts needs beside a block: the numbers of the chunks in the corpus."""

    storage_uri: str
    numbers: NDArray[np.int64]


def order_block(item: Numbered, task: OrderTask) -> pa.Table:
    """For each chunk of a block its place in the seeded order of the corpus, and its words."""
    table = usable(
        read_arrow(Storage(task.storage_uri), item.block.pack, ["id", "words", "dropped"])
    )
    seed = str(task.seed)
    order = [hashed(seed, "teacher", name) for name in table.column("id").to_pylist()]
    return pa.table({"order": pa.array(order, pa.uint64()), "words": table.column("words")})


def texts_block(item: Numbered, task: TextsTask) -> pa.Table:
    """Id, path and text of the chosen chunks of a block."""
    columns = ["id", "path", "text", "dropped"]
    table = usable(read_arrow(Storage(task.storage_uri), item.block.pack, columns))
    inside = task.numbers - item.start
    inside = inside[(inside >= 0) & (inside < table.num_rows)]
    chosen = table.take(pa.array(inside))
    names = [f"{item.block.source_id}{_SEPARATOR}{n}" for n in chosen.column("id").to_pylist()]
    return pa.table({"id": names, "path": chosen.column("path"), "text": chosen.column("text")})


@dataclass
class Teaching:
    """Asks a teacher about as many chunks as the examples that are wanted need.

    Args:
        ask: In this process or on a cluster.
    """

    plan: TeacherPlan
    ask: Ask
    use: TeacherUse | None = None
    """What it cost, once it was asked."""

    def teach(
        self,
        storage_uri: str,
        seed: int,
        map: Mapper,
        survey: Survey,
        clusters: NDArray[np.int64],
        max_examples: int,
        extras: Extras,
        progress: Callable[[float], None],
    ) -> None:
        """Ask, and add what is believed to ``extras``.

        Chunks come in an order that follows from the seed and each chunk alone, one of each
        near-duplicate cluster: after new commits mostly the same ones are asked about, whose
        replies are known.

        Raises:
            Failure: ``teacher_refused``, ``disk_full``.
            Unavailable: ``teacher_unreachable``, ``no_gpu``, ``no_vllm``.
        """
        numbers = self._choose(storage_uri, seed, map, survey.blocks, clusters, max_examples)
        task = TextsTask(storage_uri, numbers)
        tasks = [
            TeacherTask(**row)
            for table in map(texts_block, _holding(survey.blocks, numbers), task)
            for row in table.to_pylist()
        ]
        account = Account(self.plan)
        for count, asked in enumerate(self.ask(self.plan, tasks), 1):
            account.add(asked)
            if asked.pairs:
                source_id, _, chunk_id = asked.id.partition(_SEPARATOR)
                extras.by_chunk[source_id, chunk_id] = [fact_of(pair) for pair in asked.pairs]
            progress(count / len(tasks))
        self.use = account.finish()

    def report(self) -> StageYield:
        """The account of the teacher's questions, and of chunks that it was not asked about."""
        use = self.use or TeacherUse(model=self.plan.config.model)
        entered = use.pairs + sum(use.dropped.values())
        return StageYield(stage="teacher", entered=entered, left=use.pairs, dropped=use.dropped)

    def _choose(
        self,
        storage_uri: str,
        seed: int,
        map: Mapper,
        blocks: Sequence[Numbered],
        clusters: NDArray[np.int64],
        max_examples: int,
    ) -> NDArray[np.int64]:
        tables = list(map(order_block, blocks, OrderTask(storage_uri, seed)))
        order = np.concatenate([table.column("order").to_numpy() for table in tables])
        words = np.concatenate([table.column("words").to_numpy() for table in tables])
        telling = np.flatnonzero(words >= _MIN_WORDS)
        ranked = telling[np.argsort(order[telling], kind="stable")]
        _, firsts = np.unique(clusters[ranked], return_index=True)
        wanted = math.ceil(max_examples * _RESERVE / self.plan.config.questions_per_chunk)
        return np.sort(ranked[np.sort(firsts)][:wanted])


def _holding(blocks: Sequence[Numbered], numbers: NDArray[np.int64]) -> list[Numbered]:
    """The blocks that hold some of the chunks."""
    starts = np.array([item.start for item in blocks])
    places = np.unique(np.searchsorted(starts, numbers, side="right") - 1)
    return [blocks[int(place)] for place in places]
