"""Workers as processes of their own, which can be killed at any step, without Ray."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from aiforge.training.group import GroupSession
from aiforge.training.plan import Silence, TrainPlan
from aiforge.training.prepare import Prepared

_PRELOADED = ["processes", "aiforge.training.worker", "transformers.models.llama"]


@dataclass(frozen=True)
class Layout:
    """How a run is divided: workers and ZeRO stage."""

    world: int
    stage: int

    def __str__(self) -> str:
        return f"{self.world} × ZeRO-{self.stage}"


@dataclass(frozen=True)
class Victim:
    """The worker that is killed, and the step (counted from 1) whose update it does not make."""

    rank: int
    step: int


class Witness(Silence):
    """Writes down the loss of every step."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def metrics(self, points: Any) -> None:
        with self.file.open("a") as file:
            for point in points:
                file.write(json.dumps([point.step, point.loss]) + "\n")

    def losses(self) -> dict[int, float]:
        """Losses by step, the newest where a step was taken twice."""
        found: dict[int, float] = {}
        # A victim that dies in the first step leaves no file.
        text = self.file.read_text() if self.file.exists() else ""
        for line in text.splitlines():
            step, loss = json.loads(line)
            found[step] = loss
        return found


def launch(
    plan: TrainPlan,
    prepared: Prepared,
    directory: Path,
    layout: Layout,
    victim: Victim | None = None,
) -> dict[int, float]:
    """Run a job in processes until it is done, or until the victim is dead and the others too.

    Checkpoints and the losses of all launches so far are kept in ``directory``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    plan = replace(plan, config=plan.config.model_copy(update={"zero_stage": layout.stage}))
    meeting = directory / f"store-{os.urandom(4).hex()}"
    workers = [
        context.Process(
            target=_work, args=(rank, layout, plan, prepared, directory, meeting, victim)
        )
        for rank in range(layout.world)
    ]
    for worker in workers:
        worker.start()
    try:
        _until_done(workers, victim)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    return Witness(directory / "losses.jsonl").losses()


def _until_done(workers: list[Any], victim: Victim | None) -> None:
    pending = {worker.sentinel: worker for worker in workers}
    while pending:
        for sentinel in wait(list(pending), timeout=300):
            worker = pending.pop(int(sentinel))  # type: ignore[call-overload]
            worker.join()
            if victim is not None and worker is workers[victim.rank]:
                assert worker.exitcode == -signal.SIGKILL
                return
            assert worker.exitcode == 0, f"a worker ended with {worker.exitcode}"


class _Session(GroupSession):
    """A session whose engine dies where the victim is to die."""

    victim: Victim | None = None

    def engine(self, *args: Any) -> Any:
        engine: Any = super().engine(*args)
        if self.victim is not None and self.victim.rank == self.rank:
            engine.step = self._dying(engine, self.victim.step)
        return engine

    def _dying(self, engine: Any, step: int) -> Any:
        update, taken = engine.step, 0

        def step_or_die(rate: float) -> float:
            nonlocal taken
            taken += 1
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)
            norm: float = update(rate)
            return norm

        return step_or_die


def _work(
    rank: int,
    layout: Layout,
    plan: TrainPlan,
    prepared: Prepared,
    directory: Path,
    meeting: Path,
    victim: Victim | None,
) -> None:
    import torch

    from aiforge.training.worker import run

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(layout.world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "DS_ACCELERATOR": "cpu"}
    store = torch.distributed.FileStore(str(meeting), layout.world)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=layout.world, store=store)
    session = _Session(
        rank, layout.world, layout.world, torch.device("cpu"), directory / "checkpoint"
    )
    session.victim = victim
    # One thread each: these matrices are small, and the sums must not depend on the machine.
    os.sched_getaffinity = lambda pid: {0}  # type: ignore[assignment]
    run(plan, prepared, session, Witness(directory / "losses.jsonl"))
    torch.distributed.barrier()
    os._exit(0)
