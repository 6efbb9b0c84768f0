"""A teacher on a Ray cluster: one actor that keeps all slots of an endpoint busy."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy

from aiforge.errors import AIForgeError
from aiforge.raft.teacher import Asked, Teacher, TeacherPlan
from aiforge.raft.teacher_prompts import Pair, TeacherTask

# A block is what is asked for again, from the cache, where the actor dies.
_TASKS_PER_BLOCK = 1024
# Most of the time is spent waiting.
_CPUS = 0.25
_ANSWERS = pa.schema([("asked", pa.string()), ("error", pa.binary())])


def ask_on_cluster(plan: TeacherPlan, tasks: list[TeacherTask]) -> Iterator[Asked]:
    """Ask about chunks from an actor of the cluster that this process is connected to.

    One actor alone, as budget and patience are those of one process.

    Raises:
        Failure: As ``Teacher.ask_all``.
        Unavailable: As ``Teacher.ask_all``.
    """
    starts = range(0, len(tasks), _TASKS_PER_BLOCK)
    blocks = [_table(tasks[start : start + _TASKS_PER_BLOCK]) for start in starts]
    if not blocks:
        return
    answers = ray.data.from_arrow(blocks).map_batches(
        _Asker,
        fn_constructor_args=(plan,),
        batch_size=plan.config.slots,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=1),
        num_cpus=_CPUS,
    )
    for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            if row["error"]:
                raise pickle.loads(row["error"])  # noqa: S301 (the cluster's own)
            yield _parsed(row["asked"])


class _Asker:
    """Ray Data runs several calls of it at a time, in one event loop; they share the slots."""

    def __init__(self, plan: TeacherPlan) -> None:
        self._plan = plan
        self._opening: asyncio.Task[Teacher] | None = None

    async def __call__(self, batch: pa.Table) -> pa.Table:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        try:
            teacher = await asyncio.shield(self._opening)
            rows: list[dict[str, Any]] = [
                {"asked": _dumped(asked), "error": None}
                async for asked in teacher.ask_all(
                    [TeacherTask(**row) for row in batch.to_pylist()]
                )
            ]
        except AIForgeError as error:
            # Ray hands on what it is told of an exception, not the exception.
            rows = [{"asked": None, "error": pickle.dumps(error)}]
        return pa.Table.from_pylist(rows, _ANSWERS)

    async def _open(self) -> Teacher:
        teacher = await asyncio.to_thread(Teacher, self._plan)
        return await teacher.__aenter__()


def _table(tasks: Sequence[TeacherTask]) -> pa.Table:
    return pa.Table.from_pylist([vars(task) for task in tasks])


def _dumped(asked: Asked) -> str:
    pairs = [[pair.question, pair.output, pair.quotes] for pair in asked.pairs]
    return json.dumps(vars(asked) | {"pairs": pairs})


def _parsed(text: str) -> Asked:
    values = json.loads(text)
    values["pairs"] = [
        Pair(question, out, tuple(quotes)) for question, out, quotes in values["pairs"]
    ]
    values["dropped"] = Counter(values["dropped"])
    return Asked(**values)
