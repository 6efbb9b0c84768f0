"""The dimensions of a decoder, read from its configuration; imports no torch.

Memory, FLOPs and the names of the layers that can be adapted follow from these alone, so they are
known before a weight is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiforge.errors import InvalidInput

_DEFAULTS = {"intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
"""What transformers takes where a configuration is silent (``LlamaConfig``)."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a decoder; ``linears`` gives (in, out) of one block's layers by name."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    is_tied: bool
    linears: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """Dimensions from the content of a ``config.json``."""
        heads = _number(config, "num_attention_heads")
        hidden = int(config.get("hidden_size") or 4096)
        key_value = int(config.get("num_key_value_heads") or heads)
        head_dim = int(config.get("head_dim") or hidden // heads)
        intermediate = _number(config, "intermediate_size")
        kind = str(config.get("model_type"))
        return cls(
            layers=_number(config, "num_hidden_layers"),
            hidden=hidden,
            intermediate=intermediate,
            heads=heads,
            key_value_heads=key_value,
            head_dim=head_dim,
            vocabulary=int(config.get("vocab_size") or 32000),
            is_tied=bool(config.get("tie_word_embeddings", kind.startswith("gemma"))),
            linears=_linears(kind, hidden, intermediate, heads * head_dim, key_value * head_dim),
        )

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def block_linears(self) -> int:
        """Weights of one block's linear layers."""
        return sum(rows * columns for rows, columns in self.linears.values())

    @property
    def parameters(self) -> int:
        """Weights in all; norms and biases, less than a thousandth, are not counted."""
        outer = self.embedding * (1 if self.is_tied else 2)
        return self.layers * self.block_linears + outer

    def targets(self, wanted: Sequence[str] | None) -> dict[str, tuple[int, int]]:
        """The layers of a block that are to be adapted.

        Raises:
            InvalidInput: A name is none of them (``unknown_target_modules``).
        """
        names = list(self.linears) if wanted is None else list(dict.fromkeys(wanted))
        if unknown := [name for name in names if name not in self.linears]:
            error = f"{unknown[0][:80]!r} is none of {', '.join(self.linears)}"
            raise InvalidInput(
                f"Cannot adapt {error}.",
                code="unknown_target_modules",
                field="targetModules",
                error=error,
            )
        return {name: self.linears[name] for name in names}

    def adapter(self, rank: int, wanted: Sequence[str] | None) -> int:
        """Values of the adapters of all blocks."""
        per_block = sum(
            min(rank, rows, columns) * (rows + columns)
            for rows, columns in self.targets(wanted).values()
        )
        return self.layers * per_block


def _number(config: Mapping[str, Any], name: str) -> int:
    return int(config.get(name) or _DEFAULTS[name])


def _linears(
    kind: str, hidden: int, intermediate: int, query: int, key_value: int
) -> dict[str, tuple[int, int]]:
    if kind == "phi3":
        return {
            "qkv_proj": (hidden, query + 2 * key_value),
            "o_proj": (query, hidden),
            "gate_up_proj": (hidden, 2 * intermediate),
            "down_proj": (intermediate, hidden),
        }
    return {
        "q_proj": (hidden, query),
        "k_proj": (hidden, key_value),
        "v_proj": (hidden, key_value),
        "o_proj": (query, hidden),
        "gate_proj": (hidden, intermediate),
        "up_proj": (hidden, intermediate),
        "down_proj": (intermediate, hidden),
    }
