"""PiSSA: adapters that start from a weight's principal singular vectors (arXiv 2404.02948).

``W ≈ U S Vᵀ`` is split into ``s·B₀A₀``, its best approximation of the adapter's rank, which is
trained, and the residual ``W − s·B₀A₀``, which is frozen. The factors are computed once,
rounded to the type of the base weights, and stored; every process forms the residual from the
stored factors by one matrix product, so that all of them, and every later resume, agree. A
decomposition is never repeated on load: a randomized one would come out differently.

Where the residual is to be kept in 4 bits (QPiSSA), the weight is decomposed in full precision and
the factors take up, round by round, what the quantization of the residual loses.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from aiforge.errors import NotFound
from aiforge.modeling.lora import LoraLinear, layer_generator
from aiforge.modeling.quantize import Quantization, round_trip
from aiforge.storage import Storage, factors_dir

log = logging.getLogger(__name__)

ALGORITHM = 1
"""Counted up when the same specification would give other factors."""

MAX_AT_ONCE = 8
"""Layers decomposed at the same time in one process."""

OVERSAMPLING = 8
"""Columns that the randomized range finder has beyond the rank."""

QUANTIZED_ROUNDS = 5
"""Decompositions of QPiSSA; further ones change little (PiSSA, section 4)."""

Progress = Callable[[int, int], None]
Factors = dict[str, tuple[Tensor, Tensor]]
"""(A₀ of shape (rank, in), B₀ of shape (out, rank)) by layer name."""


@dataclass(frozen=True)
class FactorSpec:
    """All that the factors of a model depend on.

    ``niter`` counts the power iterations of the randomized decomposition; ``None`` means the
    full one. Where singular values fall as slowly as ``i^-0.3``, 4 leave a residual at most 0.6 %
    larger than the full decomposition's, 8 leave 0.1 %. ``dtype`` is the type of the base
    weights, without ``torch.``; ``quantization`` is what becomes of the residual.
    """

    base_hash: str
    targets: tuple[str, ...]
    rank: int
    alpha: float
    niter: int | None
    seed: int
    dtype: str
    quantization: Quantization | None = None

    @property
    def key(self) -> str:
        """The address of the factors in the cache."""
        facts = {**asdict(self), "targets": sorted(self.targets), "algorithm": ALGORITHM}
        if self.quantization is None:
            del facts["quantization"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class FactorPart:
    """One stored file of factors: its name, two checksums of its content, its layers.

    Every load goes by the CRC, which takes a third of the time: both guard against accidents
    only, since who could change a part on purpose could change the checksums as well.
    """

    name: str
    sha256: str
    crc32: int
    layers: tuple[str, ...]


def factorize(
    weight: Tensor, *, rank: int, alpha: float, niter: int | None, seed: int, name: str
) -> tuple[Tensor, Tensor]:
    """Principal factors of a weight, rounded to its type.

    ``A₀ = √(Sᵣ/s)·Vᵣᵀ`` and ``B₀ = Uᵣ·√(Sᵣ/s)`` with ``s = alpha / rank``, so that ``s·B₀A₀`` is
    the truncated decomposition; computed in float32. The rank is at most the smaller side.

    Args:
        weight: Shape (out, in).
        rank: Rank of the adapter.
        alpha: LoRA's alpha.
        niter: Power iterations of the randomized decomposition; ``None`` for the full one.
        seed: Together with ``name`` seeds the randomized decomposition.
        name: The layer's full name.

    Returns:
        A₀ of shape (rank, in) and B₀ of shape (out, rank), contiguous, on the weight's device.
    """
    matrix = weight.detach().to(torch.float32)
    capped = min(rank, *matrix.shape)
    if niter is None:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        u, s, vh = _randomized_svd(matrix, capped, niter, layer_generator(seed, name))
    root = torch.sqrt(s[:capped] / (alpha / rank))
    a = root[:, None] * vh[:capped]
    b = u[:, :capped] * root
    return a.to(weight.dtype).contiguous(), b.to(weight.dtype).contiguous()


def factorize_quantized(
    weight: Tensor, *, rank: int, alpha: float, niter: int | None, seed: int, name: str
) -> tuple[Tensor, Tensor]:
    """Factors for a residual that will be kept in 4 bits (PiSSA's algorithm 1, QPiSSA).

    Each round decomposes ``W − NF4(residual)``, so that the factors hold the principal part of
    what quantization loses as well. Arguments and shapes as :func:`factorize`; float32.
    """
    matrix = weight.detach().to(torch.float32)
    remaining = matrix
    for round_ in range(QUANTIZED_ROUNDS):
        a, b = factorize(
            remaining, rank=rank, alpha=alpha, niter=niter, seed=seed, name=f"{name}:{round_}"
        )
        if round_ + 1 < QUANTIZED_ROUNDS:
            residual = torch.addmm(matrix, b, a, alpha=-alpha / rank)
            remaining = matrix - round_trip(residual)
    return a, b


def _randomized_svd(
    matrix: Tensor, rank: int, niter: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithms 4.4 and 5.1 of Halko, Martinsson and Tropp (arXiv 0909.4061).

    Unlike ``torch.svd_lowrank`` it draws from a generator of its own, on the CPU, so that the
    result depends neither on what was drawn before nor on the device's generator.
    """
    columns = min(rank + OVERSAMPLING, *matrix.shape)
    drawn = torch.randn(matrix.shape[1], columns, generator=generator).to(matrix.device)
    basis = torch.linalg.qr(matrix @ drawn).Q
    for _ in range(niter):
        basis = torch.linalg.qr(matrix.t() @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    u, s, vh = torch.linalg.svd(basis.t() @ matrix, full_matrices=False)
    return basis @ u, s, vh


@torch.no_grad()
def subtract_(weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """Make ``W`` its residual ``W − s·B₀A₀``, computed in float32 from the rounded factors."""
    device = weight.device
    a, b = a.to(device, torch.float32), b.to(device, torch.float32)
    if weight.dtype == torch.float32:
        return weight.addmm_(b, a, alpha=-scaling)
    return weight.copy_(torch.addmm(weight.to(torch.float32), b, a, alpha=-scaling))


def compute_factors(
    weights: Mapping[str, Tensor], spec: FactorSpec, progress: Progress | None = None
) -> Factors:
    """Factors of the given layers, on the CPU; give each worker its own share of the layers.

    On a CPU several layers are decomposed at once, each by one thread: the matrices are too small
    for more to pay, and on a busy machine threads that wait for each other cost tenfold.

    Args:
        weights: Original weights by layer name, as :func:`layer_weights` or
            :func:`shard_weights` give them.
        spec: How to decompose.
        progress: Called with (layers done, layers in all) after each layer.
    """

    method = factorize if spec.quantization is None else factorize_quantized

    def decompose(name: str) -> tuple[Tensor, Tensor]:
        a, b = method(
            weights[name],
            rank=spec.rank,
            alpha=spec.alpha,
            niter=spec.niter,
            seed=spec.seed,
            name=name,
        )
        return a.cpu(), b.cpu()

    factors: Factors = {}
    with _layer_threads(weights.values()) as pool:
        for name, (a, b) in zip(weights, pool.map(decompose, weights), strict=True):
            if len(a) < spec.rank:
                log.info("%s: rank %d is capped to %d, its smaller side", name, spec.rank, len(a))
            factors[name] = a, b
            if progress:
                progress(len(factors), len(weights))
    return factors


@contextmanager
def _layer_threads(weights: Iterable[Tensor]) -> Iterator[ThreadPoolExecutor]:
    """A pool that works on layers side by side, each with one thread.

    It has the threads that torch has, at most ``MAX_AT_ONCE`` for the memory that
    decompositions take, and one where the weights are not on the CPU.
    """
    before = torch.get_num_threads()
    on_cpu = all(weight.device.type == "cpu" for weight in weights)
    count = min(before, MAX_AT_ONCE) if on_cpu else 1
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        # torch hands the last number that any thread set to every thread that starts later.
        torch.set_num_threads(before)


def layer_weights(layers: Mapping[str, nn.Linear | LoraLinear]) -> dict[str, Tensor]:
    """The weights of layers by name."""
    return {name: layer.weight.detach() for name, layer in layers.items()}


def shard_weights(files: Sequence[Path], names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Weights of layers read from a model's shards one by one, without loading the model."""
    from safetensors import safe_open

    wanted = {f"{name}.weight": name for name in names}
    for file in files:
        with safe_open(file, framework="pt") as shard:
            for key in shard.keys():  # noqa: SIM118 - not a mapping
                if key in wanted:
                    yield wanted[key], shard.get_tensor(key)


def save_factors(storage: Storage, spec: FactorSpec, factors: Factors) -> FactorPart:
    """Store some layers' factors under their content's hash; they count once published.

    Repeating it, or doing it in several processes at once, does no harm.
    """
    tensors = {}
    for name, (a, b) in sorted(factors.items()):
        tensors[f"{name}.A"], tensors[f"{name}.B"] = a, b
    data = save_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{digest[:32]}.safetensors"
    part = FactorPart(name, digest, zlib.crc32(data), tuple(sorted(factors)))
    storage.write_bytes(f"{factors_dir(spec.key)}/{part.name}", data)
    return part


def publish_factors(storage: Storage, spec: FactorSpec, parts: Sequence[FactorPart]) -> None:
    """Declare the stored parts to be the whole; from then on :func:`load_factors` finds them."""
    manifest = {"spec": asdict(spec), "parts": [asdict(part) for part in parts]}
    storage.write_json(_manifest(spec), manifest)


def load_factors(storage: Storage, spec: FactorSpec, names: Sequence[str]) -> Factors | None:
    """The stored factors of the named layers; no decomposition takes place.

    Returns:
        ``None`` where they were not stored, not stored completely, or are damaged.
    """
    try:
        manifest = storage.read_json(_manifest(spec))
        factors: Factors = {}
        for part in manifest["parts"]:
            factors |= _read_part(storage, spec, part)
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError, SafetensorError, OSError) as error:
        log.warning("Stored factors %s are damaged and will be made again: %s", spec.key, error)
        return None
    if missing := set(names) - factors.keys():
        log.warning("Stored factors %s lack %s and will be made again", spec.key, min(missing))
        return None
    return {name: factors[name] for name in names}


def ensure_factors(
    storage: Storage,
    spec: FactorSpec,
    weights: Mapping[str, Tensor],
    progress: Progress | None = None,
) -> tuple[Factors, bool]:
    """The factors of a model in one process, from the cache where they are there.

    Returns:
        The factors as stored, and whether they were there already.
    """
    names = list(weights)
    if (stored := load_factors(storage, spec, names)) is not None:
        return stored, True
    computed = compute_factors(weights, spec, progress)
    publish_factors(storage, spec, [save_factors(storage, spec, computed)])
    return computed, False


def apply_factors(adapters: Mapping[str, LoraLinear], factors: Mapping[str, Any]) -> None:
    """Start adapters from factors: A and B become A₀ and B₀, the weight its residual, in place.

    One thread forms a residual, so that it does not depend on how many threads a process has.
    """

    def apply(name: str) -> None:
        adapter, (a, b) = adapters[name], factors[name]
        with torch.no_grad():
            subtract_(adapter.weight, a, b, adapter.scaling)
            adapter.lora_A.copy_(a)
            adapter.lora_B.copy_(b)
        adapter.initial = (a, b)

    with _layer_threads(adapter.weight for adapter in adapters.values()) as pool:
        list(pool.map(apply, adapters))


def to_plain_lora(a: Tensor, b: Tensor, a0: Tensor, b0: Tensor) -> tuple[Tensor, Tensor]:
    """The trained change as a LoRA of twice the rank on the original weight, scaling unchanged.

    ``s·(BA − B₀A₀) = s·[B | −B₀]·[A ; A₀]``. Shapes: (rank, in) and (out, rank) become
    (2·rank, in) and (out, 2·rank), float32.
    """
    a, b, a0, b0 = (tensor.to("cpu", torch.float32) for tensor in (a, b, a0, b0))
    return torch.cat([a, a0]), torch.cat([b, -b0], dim=1)


@torch.no_grad()
def relative_error(weight: Tensor, adapter: LoraLinear) -> float:
    """``‖W_res + s·BA − W‖ / ‖W‖`` in the Frobenius norm, for checking an initialization."""
    exact = weight.to(torch.float64)
    product = adapter.lora_B.to(torch.float64) @ adapter.lora_A.to(torch.float64)
    difference = adapter.frozen_weight(torch.float64) + adapter.scaling * product - exact
    return float(difference.norm() / max(float(exact.norm()), math.ulp(0.0)))


def _manifest(spec: FactorSpec) -> str:
    return f"{factors_dir(spec.key)}/manifest.json"


def _read_part(storage: Storage, spec: FactorSpec, part: Mapping[str, Any]) -> Factors:
    path = f"{factors_dir(spec.key)}/{Path(part['name']).name}"
    if storage.is_local:
        file = Path(storage.full(path))
        with file.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
            _check(part, content)
        tensors = load_file(file)
    else:
        data = storage.read_bytes(path)
        _check(part, data)
        tensors = load_tensors(data)
    return {name: (tensors[f"{name}.A"], tensors[f"{name}.B"]) for name in part["layers"]}


def _check(part: Mapping[str, Any], content: bytes | mmap) -> None:
    if "crc32" in part:
        same = zlib.crc32(content) == part["crc32"]
    else:  # stored by a version that wrote the SHA-256 alone
        same = hashlib.sha256(content).hexdigest() == part["sha256"]
    if not same:
        raise ValueError(f"{part['name']} has another content than when it was written")
