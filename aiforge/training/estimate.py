"""What a worker will occupy, before anything is loaded; imports neither torch nor ray.

The parts are counted from the model's dimensions as the engine really keeps them: what its
autograd functions save, what DeepSpeed holds at each stage, the chunk of logits that exists at a
time. ``benchmarks/preflight.py`` measures how far off the sums are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiforge.modeling.linears import Shape
from aiforge.schemas.jobs import JobConfig

GIB = 1 << 30
CHUNK = 2048
"""Positions whose logits exist at one time (``loss.CHUNK``)."""

NF4_BYTES = 0.5 + 4 / 64
"""Codes and scales of a weight in 4 bits."""

PROCESS = {"cpu": 450 << 20, "cuda": 1200 << 20}
"""A worker that has imported everything and loaded nothing: its process, or its CUDA context."""

HEADROOM = 1.1
"""What allocators lose to fragments, and what the sums below leave out."""

HEAP_HOLES = 0.45
"""What glibc's heap keeps of each layer that is computed again, on a CPU.

What one layer frees lies between what outlives it, and serves the next only in part. Measured at
0.42 to 0.54 of a layer; blocks of their own (``M_MMAP_THRESHOLD``) leave no holes, but have their
pages made anew each time, a third of a step's time.
"""

Device = Literal["cpu", "cuda"]

_GPU_GIB = {
    "H200": 141, "H100": 80, "GH200": 96, "B200": 180, "A100-80G": 80, "A100-40G": 40, "A100": 40,
    "L40S": 48, "L40": 48, "L4": 24, "A10G": 24, "A10": 24, "T4": 16, "V100": 16, "P100": 16,
    "RTX-4090": 24, "RTX-3090": 24, "AMD-Instinct-MI300X-OAM": 192,
}  # fmt: skip
"""Memory by Ray's ``accelerator_type``; the smallest that is sold under the name."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker, by what they hold.

    On a GPU they lie in its memory; ``host`` beside it in the machine's. ``publishing`` is the
    peak of the end, when what was published is loaded anew to be compared.
    """

    process: int
    weights: int
    adapters: int
    optimizer: int
    gradients: int
    activations: int
    logits: int
    publishing: int
    host: int

    @property
    def peak(self) -> int:
        """The most at one time."""
        own = self.process + self.weights + self.adapters + self.optimizer + self.gradients
        training = own + self.activations + self.logits
        return int(HEADROOM * max(training, self.publishing))


def estimate(shape: Shape, config: JobConfig, max_length: int, device: Device) -> Memory:
    """What one worker of a job occupies.

    Args:
        shape: Of the base model.
        config: Its ``zero_stage`` counts as 0 where it is absent.
        max_length: Longest row in tokens.
        device: Whether workers compute in bfloat16 on GPUs or in float32 on CPUs.
    """
    word = 2 if device == "cuda" else 4
    world, stage = config.num_workers, config.zero_stage or 0
    is_full = config.method == "full"
    trained = shape.parameters if is_full else shape.adapter(config.rank, config.target_modules)
    # What is trained has float32 masters; only a whole model on GPUs computes with a 16-bit copy.
    own = word if is_full else 4
    divided = world if stage == 3 else 1
    base = _base_bytes(shape, config, word)
    whole_weights = 0 if is_full else base
    masters = 4 * trained / world if stage or own == 2 else 0
    moments = 8 * trained / (world if stage else 1)
    tokens = config.batch_size * max_length
    offloaded = (base + own * trained) / divided + masters + moments if config.offload else 0
    on_device = 0 if config.offload else 1
    gathered = _largest_gather(shape, word) if stage == 3 else 0
    weights = (on_device * whole_weights / (1 if config.quantize_base else divided)) + gathered
    initial = word * trained if config.method == "pissa" else 0
    adapters = on_device * own * trained / divided + (initial if device == "cpu" else 0)
    optimizer = on_device * (masters + moments)
    # The base goes before the published one comes, but for what stage 3 has divided.
    kept = weights if stage == 3 else 0
    published = (shape.parameters + (0 if is_full else 2 * trained)) * word
    process = PROCESS[device]
    return Memory(
        process=process,
        weights=int(weights),
        adapters=int(adapters),
        optimizer=int(optimizer),
        gradients=int(own * trained / (world if stage >= 2 else 1)),
        activations=int(_activations(shape, config, device) * tokens),
        logits=_logits(shape, config, tokens, word),
        publishing=int(process + kept + adapters + optimizer + published),
        host=int(offloaded + (initial + PROCESS["cpu"] if device == "cuda" else 0)),
    )


def _base_bytes(shape: Shape, config: JobConfig, word: int) -> float:
    """The frozen base, undivided."""
    if not config.quantize_base:
        return shape.parameters * word
    targets = shape.targets(config.target_modules).values()
    packed = shape.layers * sum(rows * columns for rows, columns in targets)
    return packed * NF4_BYTES + (shape.parameters - packed) * word


def _largest_gather(shape: Shape, word: int) -> int:
    """What stage 3 brings together at a time: a block and what is fetched ahead, or the head."""
    return word * max(2 * shape.block_linears, shape.embedding)


def _activations(shape: Shape, config: JobConfig, device: Device) -> float:
    """Bytes for each token of a micro-batch that are kept for the backward pass."""
    word = 2 if device == "cuda" else 4
    query, key_value = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    # Two norms keep their input twice, then each linear its input, attention its four tensors,
    # the gate what it multiplies; the residual stream is new after attention and after the MLP.
    values = 8 * shape.hidden + 4 * shape.intermediate + 3 * query + 2 * key_value
    if config.method != "full":
        values += config.rank * len(shape.targets(config.target_modules))
    passing = 2 * shape.intermediate + 4 * shape.hidden
    whole: float = shape.layers * values + passing
    if config.activation_checkpointing:
        holes = HEAP_HOLES if device == "cpu" else 0
        again = values + passing
        whole = min(whole, shape.layers * (shape.hidden + holes * again) + again)
    return word * whole


def _logits(shape: Shape, config: JobConfig, tokens: int, word: int) -> int:
    """One chunk of logits, in the type of the computation, in float32, and its gradient."""
    copies = 4 if word == 4 else 4 + 2 * word
    total = min(CHUNK, tokens) * shape.vocabulary * copies
    return total + (4 * shape.embedding if config.method == "full" else 0)


def disk_bytes(shape: Shape, config: JobConfig, device: Device) -> int:
    """What a job leaves on disk: factors, two checkpoints, what is published."""
    is_full = config.method == "full"
    trained = shape.parameters if is_full else shape.adapter(config.rank, config.target_modules)
    word = 2 if device == "cuda" else 4
    factors = trained * word if config.method == "pissa" else 0
    published = trained * (word if is_full else 8)
    return 3 * 12 * trained + factors + published


@dataclass(frozen=True)
class Room:
    """Memory that workers can have: ``worker`` bytes each, ``None`` where it is not known."""

    device: Device
    worker: int | None


def room(resources: Mapping[str, float], workers: int) -> Room:
    """What each of ``workers`` can have in a cluster, from its resources by Ray's names."""
    if resources.get("GPU"):
        kinds = [key.partition(":")[2] for key in resources if key.startswith("accelerator_type:")]
        sizes = [_GPU_GIB[kind] for kind in kinds if kind in _GPU_GIB]
        return Room("cuda", min(sizes) * GIB if sizes and len(sizes) == len(kinds) else None)
    memory = int(resources.get("memory", 0))
    return Room("cpu", memory // workers if memory else None)


def choose_stage(
    shape: Shape, config: JobConfig, max_length: int, room: Room
) -> tuple[JobConfig, str]:
    """The configuration with its ZeRO stage settled, and why it is that one.

    A lower stage communicates less, so the lowest that fits is taken.
    """
    if config.zero_stage is not None:
        return config, f"ZeRO stage {config.zero_stage}, as asked for"
    if config.num_workers == 1:
        return config.model_copy(
            update={"zero_stage": 0}
        ), "ZeRO stage 0: one worker has nothing to divide"
    if room.worker is None:
        chosen = config.model_copy(update={"zero_stage": 1})
        return chosen, "ZeRO stage 1: the devices' memory is not known"
    chosen = config
    for stage in (3,) if config.offload else (1, 2, 3):
        chosen = config.model_copy(update={"zero_stage": stage})
        peak = estimate(shape, chosen, max_length, room.device).peak
        if peak <= room.worker:
            return chosen, (
                f"ZeRO stage {stage}, the lowest that fits: {peak / GIB:.1f} of "
                f"{room.worker / GIB:.1f} GiB for each of {config.num_workers} workers"
            )
    return chosen, "ZeRO stage 3: nothing less divides enough"


def fitting(shape: Shape, config: JobConfig, max_length: int, room: Room) -> dict[str, Any]:
    """The smallest set of changes with which a job fits.

    Returns:
        Values by the names of ``JobConfig``'s fields; nothing where nothing helps.
    """
    assert room.worker is not None
    changes: dict[str, Any] = {}
    for change in _smaller(config, max_length):
        for tried in (change, changes | change):
            length = tried.get("max_seq_length", max_length)
            peak = estimate(shape, config.model_copy(update=tried), length, room.device).peak
            if peak <= room.worker:
                return tried
        changes |= change
    return {}


def _smaller(config: JobConfig, max_length: int) -> Iterator[dict[str, Any]]:
    """Changes that make a job smaller, the cheapest first."""
    if config.batch_size > 1:
        rows = config.batch_size * config.gradient_accumulation
        yield {"batch_size": 1, "gradient_accumulation": rows}
    if not config.activation_checkpointing:
        yield {"activation_checkpointing": True}
    if config.num_workers > 1 and config.zero_stage != 3:
        yield {"zero_stage": 3}
    if config.method == "full":
        yield {"method": "pissa"}
    elif not config.quantize_base:
        yield {"quantize_base": True}
    if config.method != "full" and config.rank > 16:
        yield {"rank": 16}
    for length in (1024, 512, 256):
        if length < max_length:
            yield {"max_seq_length": length}


def wire_name(field: str) -> str:
    """A field of ``JobConfig`` as a request names it."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), field)
