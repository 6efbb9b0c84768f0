"""Which models llama.cpp can run as they were trained; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiforge.errors import InvalidInput

Config = Mapping[str, Any]
"""A model's ``config.json``."""


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp's graph of one family is fixed to.

    ``name`` is GGUF's ``general.architecture``. ``fixed_width`` says that all heads together
    must be as wide as the model. ``norm_shift`` is added to the weights of norms.
    """

    name: str
    activations: frozenset[str]
    rope_types: frozenset[str]
    fixed_width: bool = False
    tied_only: bool = False
    permutes_heads: bool = False
    norm_shift: float = 0.0
    attention_bias: bool = False
    has_windows: bool = False
    """Whether some layers see a window only; llama.cpp ignores the window of other families."""


_SILU = frozenset({"silu", "swish"})
_GELU = frozenset({"gelu_pytorch_tanh", "gelu", "gelu_tanh"})
_SCALED = frozenset({"default", "linear", "yarn"})
_LLAMA = Architecture(
    "llama", _SILU, _SCALED | {"llama3"}, permutes_heads=True, attention_bias=True
)

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Architecture("qwen2", _SILU, _SCALED, fixed_width=True, attention_bias=True),
    "qwen3": Architecture("qwen3", _SILU, _SCALED),
    "phi3": Architecture("phi3", _SILU, frozenset({"default", "longrope"}), fixed_width=True),
    "gemma": Architecture("gemma", _GELU, frozenset({"default"}), tied_only=True, norm_shift=1.0),
    "gemma2": Architecture(
        "gemma2",
        _GELU,
        frozenset({"default"}),
        tied_only=True,
        norm_shift=1.0,
        has_windows=True,
    ),
    "gemma3_text": Architecture(
        "gemma3", _GELU, frozenset({"default", "linear"}), norm_shift=1.0, has_windows=True
    ),
}
"""By ``model_type``."""

_LARGEST_LAYERS = {"gemma2": 46, "gemma3_text": 62}
"""The one size of each family whose attention llama.cpp scales by the width of the model."""


def require_exportable(config: Config) -> None:
    """Refuse a model that could be trained but not exported, before anyone trains it.

    Args:
        config: The model's ``config.json``; absent keys count as the family's defaults.

    Raises:
        InvalidInput: With code ``not_exportable`` and ``field="baseModel"``; the message says
            what can be exported.
    """
    kind = str(config.get("model_type"))
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        raise _refusal(f"a {kind} model cannot be written as GGUF")
    for check in _CHECKS:
        if fault := check(kind, architecture, config):
            raise _refusal(fault)


def head_dim(config: Config) -> int | None:
    """Width of one attention head; ``None`` where the configuration does not tell."""
    given = config.get("head_dim")
    if given:
        return int(given)
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    return int(width) // int(heads) if width and heads else None


def rope_of(config: Config, layers: str = "full_attention") -> dict[str, Any]:
    """Parameters of the rotary embedding, whichever generation of keys the file uses.

    Args:
        layers: Which layers' parameters are wanted, where there are several kinds.

    Returns:
        At least ``rope_type`` and ``rope_theta``.
    """
    given = config.get("rope_parameters") or {}
    given = given.get(layers) or given
    old = config.get("rope_scaling") or {}
    local = layers == "sliding_attention"
    theta = config.get("rope_local_base_freq" if local else "rope_theta")
    rope = {} if local and not given else dict(old)
    rope |= {key: value for key, value in given.items() if not isinstance(value, Mapping)}
    rope.setdefault("rope_type", rope.pop("type", None) or "default")
    rope.setdefault("rope_theta", theta or 10_000.0)
    for key in ("original_max_position_embeddings", "partial_rotary_factor"):
        if config.get(key) is not None:
            rope.setdefault(key, config[key])
    if rope["rope_type"] == "su":
        rope["rope_type"] = "longrope"
    return rope


def context_limit(config: Config) -> int:
    """Longest context in which llama.cpp computes what the model was trained to.

    Where the family's window is ignored there, the context ends with the window.
    """
    longest = int(config.get("max_position_embeddings") or 2048)
    kind = str(config.get("model_type"))
    window = config.get("sliding_window")
    uses_window = config.get("use_sliding_window", kind not in ("qwen2", "qwen3"))
    if ARCHITECTURES[kind].has_windows or not window or not uses_window:
        return longest
    return min(longest, int(window))


def _activation(kind: str, architecture: Architecture, config: Config) -> str | None:
    given = config.get("hidden_activation") or config.get("hidden_act")
    if given is None or given in architecture.activations:
        return None
    return f"its activation {given!r} is none that llama.cpp computes for {kind}"


def _rope(kind: str, architecture: Architecture, config: Config) -> str | None:
    rope = rope_of(config)
    if rope["rope_type"] not in architecture.rope_types:
        known = ", ".join(sorted(architecture.rope_types))
        return f"its rotary embedding is scaled by {rope['rope_type']!r}; {kind} can have {known}"
    partial = float(rope.get("partial_rotary_factor") or 1.0)
    if partial != 1.0 and kind != "phi3":
        return "only a part of its heads is rotated"
    return None


def _shape(kind: str, architecture: Architecture, config: Config) -> str | None:
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    head = head_dim(config)
    if architecture.fixed_width and width and heads and head and int(heads) * head != int(width):
        return f"its {heads} heads of {head} are not as wide as the model ({width})"
    if head and head % 2:
        return f"its heads have the odd width {head}"
    return None


def _head(kind: str, architecture: Architecture, config: Config) -> str | None:
    if architecture.tied_only and config.get("tie_word_embeddings") is False:
        return f"its output projection is not tied to the embedding, which {kind} always is"
    return None


def _bias(kind: str, architecture: Architecture, config: Config) -> str | None:
    if config.get("attention_bias") and not architecture.attention_bias:
        return f"its attention has biases, which llama.cpp does not compute for {kind}"
    return None


def _scale(kind: str, architecture: Architecture, config: Config) -> str | None:
    scalar = config.get("query_pre_attn_scalar")
    head = head_dim(config)
    if kind not in _LARGEST_LAYERS or scalar is None or head is None:
        return None
    expected = float(head)
    if config.get("num_hidden_layers") == _LARGEST_LAYERS[kind]:
        expected = float(int(config["hidden_size"]) // int(config["num_attention_heads"]))
    if float(scalar) != expected:
        return f"its attention is scaled by {scalar}, where llama.cpp takes {expected:g}"
    return None


def _bidirectional(kind: str, architecture: Architecture, config: Config) -> str | None:
    return "it attends in both directions" if config.get("use_bidirectional_attention") else None


_CHECKS: tuple[Callable[[str, Architecture, Config], str | None], ...] = (
    _activation,
    _rope,
    _shape,
    _head,
    _bias,
    _scale,
    _bidirectional,
)


def _refusal(fault: str) -> InvalidInput:
    error = f"The model cannot be exported: {fault}"
    return InvalidInput(
        f"{error}. Models of the families {', '.join(sorted(ARCHITECTURES))} with the usual "
        "attention can be; train one of those.",
        code="not_exportable",
        field="baseModel",
        error=error,
    )
