"""Low-rank adapters (Hu et al., arXiv 2106.09685) on frozen linear layers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from aiforge.errors import InvalidInput
from aiforge.modeling.quantize import Nf4Weight

DEFAULT_TARGETS = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    "qkv_proj", "gate_up_proj",
)  # fmt: skip
"""All linear layers of a decoder block; the last two are Phi-3's fused ones."""


class LoraLinear(nn.Module):
    """``y = x Wᵀ + bias + s·(x Aᵀ) Bᵀ`` with a frozen ``W`` and float32 ``A`` and ``B``.

    Shapes: ``weight`` (out, in), ``lora_A`` (rank, in), ``lora_B`` (out, rank). The input's type is
    the type of the computation. Who makes one fills ``A`` and ``B``.

    Attributes:
        scaling: ``s``, alpha divided by the rank that was asked for.
        initial: Under PiSSA the stored factors (A₀, B₀) that ``weight`` was reduced by, on the
            CPU; not part of the module's state, so that neither ``.to()`` nor a checkpoint of
            the model touches them.
        packed: The frozen weight in 4 bits after :meth:`quantize_`; ``weight`` is ``None`` then.
    """

    def __init__(self, linear: nn.Linear, rank: int, scaling: float) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.rank, self.scaling = rank, scaling
        self.weight = linear.weight
        self.bias = linear.bias
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(False)
        device = self.weight.device
        self.lora_A = nn.Parameter(torch.empty(rank, self.in_features, device=device))
        self.lora_B = nn.Parameter(torch.empty(self.out_features, rank, device=device))
        self.initial: tuple[Tensor, Tensor] | None = None
        self.packed: Nf4Weight | None = None

    @torch.no_grad()
    def quantize_(self, device: torch.device) -> None:
        """Put the frozen weight into 4 bits on a device, and let go of the one in full."""
        self.packed = Nf4Weight(self.weight.to(device))
        self.register_parameter("weight", None)

    def frozen_weight(self, dtype: torch.dtype) -> Tensor:
        """The frozen weight as computed with, shape (out, in)."""
        return self.weight.to(dtype) if self.packed is None else self.packed.dequantize(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        weight = self.weight if self.packed is None else self.packed
        out: Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]
            x, weight, self.bias, self.lora_A, self.lora_B, self.scaling
        )
        return out

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """``W + s·BA`` in float32, then in the type of ``W`` (float32 where that has 4 bits)."""
        full = torch.addmm(
            self.frozen_weight(torch.float32),
            self.lora_B.float(),
            self.lora_A.float(),
            alpha=self.scaling,
        )
        return full if self.packed is not None else full.to(self.weight.dtype)

    def extra_repr(self) -> str:
        """Shape and rank, for ``print(model)``."""
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, s={self.scaling:g}"


class _LoraProduct(torch.autograd.Function):
    """Forward and backward of :class:`LoraLinear` with the low-rank terms added in place.

    Against autograd on the plain expression this saves one (tokens, out) tensor forward, one
    (tokens, in) tensor backward and their passes over memory; ``x Aᵀ`` is kept, being small.
    A weight in 4 bits is unpacked in each direction and never kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | Nf4Weight,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        s: float,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        reduced = flat @ a.to(x.dtype).t()
        ctx.packed = weight if isinstance(weight, Nf4Weight) else None
        full = weight.dequantize(x.dtype) if isinstance(weight, Nf4Weight) else weight
        out = functional.linear(flat, full, bias)
        out.addmm_(reduced, b.to(x.dtype).t(), alpha=s)
        kept = None if isinstance(weight, Nf4Weight) else weight
        ctx.save_for_backward(flat, kept, a, b, reduced)
        ctx.scaling, ctx.shape = s, x.shape
        return out.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, a, b, reduced = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1])
        inner = gradient @ b.to(gradient.dtype)
        of_x = None
        if ctx.needs_input_grad[0]:
            full = weight if ctx.packed is None else ctx.packed.dequantize(gradient.dtype)
            of_x = gradient @ full
            of_x.addmm_(inner, a.to(gradient.dtype), alpha=ctx.scaling)
            of_x = of_x.view(ctx.shape)
        of_a = (inner.t() @ flat).to(a.dtype).mul_(ctx.scaling)
        of_b = (gradient.t() @ reduced).to(b.dtype).mul_(ctx.scaling)
        return of_x, None, None, of_a, of_b, None


def target_layers(model: nn.Module, targets: Sequence[str] | None = None) -> dict[str, nn.Linear]:
    """The linear layers to adapt, by their full name, in the model's order.

    Args:
        model: A causal language model.
        targets: Last components of layer names; by default all linear layers of the decoder.

    Raises:
        InvalidInput: A target names no linear layer, or the output projection, which shares its
            weight with the embedding or is not worth an adapter.
    """
    wanted = set(targets or DEFAULT_TARGETS)
    found: dict[str, nn.Linear] = {}
    available: set[str] = set()
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Linear) and last != "lm_head":
            available.add(last)
            if last in wanted:
                found[name] = module
    unknown = wanted - available if targets else set()
    if unknown or not found:
        raise InvalidInput(
            f"Cannot adapt {', '.join(sorted(unknown or wanted))}: "
            f"choose targetModules among {', '.join(sorted(available))}.",
            code="unknown_target_modules",
            field="targetModules",
        )
    return found


def inject(
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    targets: Sequence[str] | None = None,
    seed: int | None = 0,
) -> dict[str, LoraLinear]:
    """Freeze a model and put a trainable low-rank adapter on each target layer.

    ``A`` is drawn from U(−1/√in, 1/√in), as PEFT does, from a generator seeded per layer name;
    ``B`` is zero, so that the model's output is unchanged. Without a seed neither is filled, for
    a caller that has values to put there. A layer's rank is at most the smaller side of its
    weight; the scaling stays ``alpha / rank``.

    Returns:
        The adapters by layer name, in the model's order.

    Raises:
        InvalidInput: See :func:`target_layers`.
    """
    layers = target_layers(model, targets)
    model.requires_grad_(False)
    adapters: dict[str, LoraLinear] = {}
    for name, linear in layers.items():
        capped = min(rank, linear.in_features, linear.out_features)
        adapter = LoraLinear(linear, capped, alpha / rank)
        if seed is not None:
            bound = 1 / math.sqrt(linear.in_features)
            drawn = torch.empty(capped, linear.in_features)
            drawn.uniform_(-bound, bound, generator=layer_generator(seed, name))
            adapter.lora_A.data.copy_(drawn)
            adapter.lora_B.data.zero_()
        model.set_submodule(name, adapter)
        adapters[name] = adapter
    return adapters


def layer_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator that depends on the seed and the layer's name alone.

    So a layer's numbers are the same whichever process draws them, and in whatever order.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def adapters_of(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """The adapters of a model with their layer names, in the model's order."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def trainable_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that an optimizer should see, in the model's order."""
    return [(n, p) for n, p in model.named_parameters() if p.requires_grad]


@torch.no_grad()
def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU, in float32, of every ``<layer>.lora_A`` and ``<layer>.lora_B``."""
    state = {}
    for name, adapter in adapters_of(model):
        for part in ("lora_A", "lora_B"):
            value = getattr(adapter, part)
            state[f"{name}.{part}"] = value.detach().to("cpu", torch.float32, copy=True)
    return state


@torch.no_grad()
def load_adapter_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what :func:`adapter_state` gave.

    Raises:
        InvalidInput: Layers or shapes are not those of the model's adapters.
    """
    own = {
        f"{name}.{part}": getattr(adapter, part)
        for name, adapter in adapters_of(model)
        for part in ("lora_A", "lora_B")
    }
    wrong = own.keys() ^ state.keys()
    wrong |= {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape}
    if wrong:
        raise InvalidInput(
            f"The adapter does not fit the model: {min(wrong)} and {len(wrong) - 1} more differ; "
            "use the rank and targets that it was trained with.",
            code="adapter_mismatch",
        )
    for key, parameter in own.items():
        parameter.copy_(state[key])


@torch.no_grad()
def merge(model: nn.Module) -> nn.Module:
    """Replace every adapter by an ordinary linear layer with the merged weight, in place."""
    for name, adapter in list(adapters_of(model)):
        linear = nn.Linear(adapter.in_features, adapter.out_features, bias=False, device="meta")
        linear.weight = nn.Parameter(adapter.merged_weight(), requires_grad=False)
        linear.bias = adapter.bias
        model.set_submodule(name, linear)
    return model
