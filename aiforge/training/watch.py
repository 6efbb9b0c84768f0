"""What a worker knows of its own health: memory, stalls, and what to do when memory runs out."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from aiforge.errors import Failure
from aiforge.schemas.jobs import JobConfig

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

STALL_SECONDS = 120.0
"""A worker that begins nothing new for this long is looked into."""

TICK_SECONDS = 5.0
TICKS_APART = 3
"""A worker that lives has ticked within this many ticks of another."""

_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_memory(device: torch.device) -> int:
    """Most bytes that this worker has occupied so far: of its GPU, else of its process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, on a GPU or on the host."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def out_of_memory(config: JobConfig, where: str) -> Failure:
    """The error for a job whose memory ran out, with the change that helps most first."""
    return Failure(
        f"Memory ran out {where}. Try, in this order: {'; '.join(remedies(config))}.",
        code="out_of_memory",
        remedies=remedies(config),
    )


def remedies(config: JobConfig) -> list[str]:
    """Changes of a job that make it smaller, the cheapest in time and quality first."""
    found = []
    if config.batch_size > 1:
        factor = config.batch_size * config.gradient_accumulation
        found.append(f"batchSize 1 with gradientAccumulation {factor}, which trains the same")
    if not config.activation_checkpointing:
        found.append("activationCheckpointing true, a third slower")
    if config.method == "full":
        found.append("method pissa, which trains a small part of the weights")
    elif not config.quantize_base:
        found.append("quantizeBase true, which keeps the base in 4 bits")
    if config.num_workers > 1 and config.zero_stage != 3:
        found.append("zeroStage 3, which divides the weights among the workers")
    if config.zero_stage == 3 and not config.offload:
        found.append("offload true, which keeps state in the host's memory")
    if config.method != "full" and config.rank > 16:
        found.append(f"rank {max(8, config.rank // 4)}")
    found.append("a smaller maxSeqLength")
    return found


class Beats(Protocol):
    """A board on which every worker writes and all can read, from any thread."""

    def write(self, rank: int, text: str) -> None:
        """Replace what a worker has written."""

    def read(self, rank: int) -> str | None:
        """What a worker has written last; ``None`` where nothing can be had of it."""


class LocalBeats:
    """A board for the threads of one process."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def write(self, rank: int, text: str) -> None:
        """Replace what a worker has written."""
        self._texts[rank] = text

    def read(self, rank: int) -> str | None:
        """What a worker has written last."""
        return self._texts.get(rank)


class StoreBeats:
    """A board on the store that the workers' process group met through."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, rank: int, text: str) -> None:
        """Replace what a worker has written; nothing happens where the store is away."""
        with contextlib.suppress(RuntimeError):
            self._store.set(self._key(rank), text)

    def read(self, rank: int) -> str | None:
        """What a worker has written last; ``None`` where the store is away."""
        try:
            if not self._store.check([self._key(rank)]):
                return None
            text: str = self._store.get(self._key(rank)).decode()
            return text
        except RuntimeError:
            return None

    def _key(self, rank: int) -> str:
        return f"aiforge/beat/{rank}"


@dataclass(frozen=True)
class Beat:
    """Where a worker is; ``tick`` grows as long as its process lives, ``place`` as it gets on."""

    tick: int
    place: int
    step: int
    phase: str


def diagnose(now: Mapping[int, Beat | None], before: Mapping[int, Beat | None]) -> str:
    """Who holds the others up, from what the workers wrote at two times a few ticks apart."""
    silent = [
        rank
        for rank, beat in now.items()
        if beat is None or (seen := before.get(rank)) is None or beat.tick == seen.tick
    ]
    if silent:
        names = ", ".join(f"rank {rank}" for rank in silent)
        return f"{names} gives no sign of life: its process is stopped, or its machine is away"
    beats = {rank: beat for rank, beat in now.items() if beat is not None}
    first = min(beats.values(), key=lambda beat: beat.place)
    behind = [rank for rank, beat in beats.items() if beat.place == first.place]
    if len(behind) == len(beats):
        return f"every rank is still {first.phase}: the work itself takes this long, or hangs"
    names = ", ".join(f"rank {rank}" for rank in behind)
    return f"{names} is still {first.phase} in step {first.step + 1}, and the others wait"


@dataclass
class Watchdog:
    """A thread that says who holds the workers up when nothing has happened for a while.

    The lowest rank that is alive speaks, again each time the stall has lasted twice as long. It
    only speaks: a step that is slow for a good reason goes on.

    Args:
        rank: This worker's.
        world: Number of workers.
        beats: What the workers share.
        say: Takes a warning; must not block.
    """

    rank: int
    world: int
    beats: Beats
    say: Callable[[str], None]
    stall_seconds: float = STALL_SECONDS
    tick_seconds: float = TICK_SECONDS
    _place: int = 0
    _step: int = 0
    _phase: str = "starting"
    _since: float = field(default_factory=time.monotonic)
    _closing: threading.Event = field(default_factory=threading.Event)

    def at(self, step: int, phase: str) -> None:
        """This worker begins something else."""
        self._step, self._phase, self._since = step, phase, time.monotonic()
        self._place += 1

    def __enter__(self) -> Watchdog:
        self._thread = threading.Thread(target=self._loop, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._thread.join(self.tick_seconds)

    def _loop(self) -> None:
        tick, spoke_at, limit = 0, -1, self.stall_seconds
        looked_at, before = 0, dict[int, Beat | None]()
        while not self._closing.wait(self.tick_seconds):
            tick += 1
            place, waited = self._place, time.monotonic() - self._since
            beat = [tick, place, self._step, self._phase]
            self.beats.write(self.rank, json.dumps(beat))
            limit = limit if place == spoke_at else self.stall_seconds
            if waited < limit:
                before = {}
                continue
            now = {rank: self._read(rank) for rank in range(self.world)}
            if not before:
                looked_at, before = tick, now
            elif tick - looked_at >= TICKS_APART:
                if self._speaks(now, before):
                    self.say(f"Nothing has happened for {waited:.0f} s: {diagnose(now, before)}.")
                spoke_at, limit, before = place, 2 * waited, {}

    def _speaks(self, now: Mapping[int, Beat | None], before: Mapping[int, Beat | None]) -> bool:
        def lives(rank: int) -> bool:
            beat, seen = now[rank], before.get(rank)
            return beat is not None and seen is not None and beat.tick > seen.tick

        return not any(lives(rank) for rank in range(self.rank))

    def _read(self, rank: int) -> Beat | None:
        text = self.beats.read(rank)
        return None if text is None else Beat(*json.loads(text))
