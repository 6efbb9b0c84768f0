"""How the plan of a training job is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiforge.cli.output import duration, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.schemas.plans import TrainingPlan

GIB = 1 << 30


def plan_details(plan: TrainingPlan) -> Callable[[Console], None]:
    """Shows a plan."""
    elastic = plan.min_workers < plan.num_workers
    workers = f"{plan.min_workers} to {plan.num_workers}" if elastic else f"{plan.num_workers}"
    return facts(
        [
            ("base model", plan.base_model),
            ("parameters", _parameters(plan)),
            ("workers", f"{workers} on {'GPUs' if plan.device == 'cuda' else 'CPUs'}"),
            ("division", plan.zero_stage_reason),
            ("step", f"{plan.rows_per_step} rows of up to {plan.max_seq_length:,} tokens"),
            ("memory", _memory(plan)),
            ("fits", _verdict(plan)),
            ("disk", f"{plan.disk_bytes / GIB:.2f} GiB"),
            ("resumes from", plan.resumes_from),
            *_measured(plan),
        ]
    )


def _measured(plan: TrainingPlan) -> list[tuple[str, str | None]]:
    """What a probe on the cluster has told."""
    data, time = plan.data, plan.time
    if data is None or time is None:
        return []
    return [
        (
            "examples",
            f"{data.examples:,}: {data.truncated_share:.1%} truncated, "
            f"{data.dropped_share:.1%} dropped ({data.sampled} sampled)",
        ),
        (
            "tokens",
            f"{data.tokens:,}, {data.trained_share:.1%} of them trained, in {data.rows:,} rows",
        ),
        (
            "time",
            f"{data.steps:,} steps of {time.seconds_per_step:.2f} s, "
            f"{duration(time.seconds)} in all ({time.device_name})",
        ),
    ]


def _parameters(plan: TrainingPlan) -> str | None:
    if plan.parameters is None or plan.trained_parameters is None:
        return None
    share = plan.trained_parameters / plan.parameters
    return f"{plan.parameters:,}; {plan.trained_parameters:,} trained ({share:.1%})"


def _memory(plan: TrainingPlan) -> str | None:
    memory = plan.memory
    if memory is None:
        return None
    parts = ("weights", "adapters", "optimizer", "gradients", "activations", "logits")
    listed = ", ".join(f"{name} {getattr(memory, name) / GIB:.2f}" for name in parts)
    return f"{memory.peak / GIB:.2f} GiB per worker ({listed})"


def _verdict(plan: TrainingPlan) -> str:
    if plan.fits is None or plan.available_bytes is None:
        return "not known: the memory of the devices is not"
    room = f"{plan.available_bytes / GIB:.1f} GiB per worker"
    if plan.fits:
        return f"yes, into {room}"
    changes = " and ".join(f"{name} {value}" for name, value in plan.changes.items())
    return f"no, there are {room}; " + (f"with {changes} it would" if changes else "nothing helps")
