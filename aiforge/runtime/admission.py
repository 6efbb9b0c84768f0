"""Which of the waiting runs may start now, and why the others wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from aiforge.schemas.runs import Resources, Run

GIB = 1 << 30


class Verdict(Enum):
    """What becomes of a waiting run."""

    START = "start"
    WAIT = "wait"
    TOO_LARGE = "too large"


@dataclass(frozen=True)
class Decision:
    """What becomes of one waiting run, and why, for a person."""

    run: Run
    verdict: Verdict
    reason: str = ""


def decide(waiting: Sequence[Run], active: Sequence[Run], capacity: Resources) -> list[Decision]:
    """Admit runs in the order of time, side by side as long as they fit.

    The first run that does not fit keeps its claim: a later one may overtake it only where it
    would fit beside both it and what runs (EASY backfilling, Lifka 1995). So nothing overtaken
    waits longer for that. CPUs and GPUs are hard limits, since Ray would never place such a run;
    memory is an estimate, so a run that seems larger than the cluster starts alone.

    Args:
        waiting: Oldest first.
    """
    occupied = [_clipped(run.resources, capacity) for run in active]
    names = [run.id for run in active]
    claim: tuple[str, Resources] | None = None
    decisions = []
    for run in waiting:
        need = _clipped(run.resources, capacity)
        if lack := _lacking(need, [], capacity):
            reason = f"Needs {lack}, more than the cluster has; ask for fewer workers or add nodes."
            decisions.append(Decision(run, Verdict.TOO_LARGE, reason))
        elif lack := _lacking(need, occupied, capacity):
            claim = claim or (run.id, need)
            reason = f"Waits for {lack}; in use by {_listed(names)}."
            decisions.append(Decision(run, Verdict.WAIT, reason))
        elif claim and _lacking(need, [*occupied, claim[1]], capacity):
            reason = f"Waits for {claim[0]}, which was there first."
            decisions.append(Decision(run, Verdict.WAIT, reason))
        else:
            occupied.append(need)
            names.append(run.id)
            decisions.append(Decision(run, Verdict.START))
    return decisions


def _clipped(need: Resources, capacity: Resources) -> Resources:
    memory = min(need.memory_bytes, capacity.memory_bytes)
    return need.model_copy(update={"memory_bytes": memory})


def _lacking(need: Resources, occupied: Sequence[Resources], capacity: Resources) -> str:
    """What is too little for a run beside others, or an empty text."""
    cpus = capacity.cpus - sum(one.cpus for one in occupied)
    gpus = capacity.gpus - sum(one.gpus for one in occupied)
    memory = capacity.memory_bytes - sum(one.memory_bytes for one in occupied)
    lacks = []
    if need.cpus and need.cpus > cpus:
        lacks.append(f"{need.cpus:g} CPUs ({max(0.0, cpus):g} of {capacity.cpus:g} free)")
    if need.gpus and need.gpus > gpus:
        lacks.append(f"{need.gpus:g} GPUs ({max(0.0, gpus):g} of {capacity.gpus:g} free)")
    if need.memory_bytes and need.memory_bytes > memory:
        free = max(0, memory) / GIB
        lacks.append(
            f"{need.memory_bytes / GIB:.1f} GiB of memory "
            f"({free:.1f} of {capacity.memory_bytes / GIB:.1f} free)"
        )
    return " and ".join(lacks)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
