"""What transformers computes with the merged weights, one layer in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aiforge.export.weights import MergedWeights
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import model_class

if TYPE_CHECKING:
    from numpy.typing import NDArray


def model_config(base: BaseModel, declared: dict[str, Any]) -> Any:
    """The model's configuration with every default of its family filled in."""
    return model_class(base).config_class.from_dict(declared)


def reference_logits(
    base: BaseModel,
    config: Any,
    weights: MergedWeights,
    sequences: Sequence[Sequence[int]],
    *,
    stored_as: torch.dtype,
    vectors_too: bool = False,
) -> list[NDArray[np.float32]]:
    """Logits behind each token of each sequence, computed in float32.

    Args:
        config: From :func:`model_config`.
        stored_as: Type of the matrices in the file that is compared; they are rounded to it.
        vectors_too: So are norms and biases, which a GGUF holds in float32.

    Returns:
        One ``[tokens, vocabulary]`` per sequence.
    """
    from accelerate import cpu_offload, init_empty_weights

    attention = "eager" if config.model_type == "gemma2" else "sdpa"
    with init_empty_weights(include_buffers=False):
        model = model_class(base)._from_config(
            config, dtype=torch.float32, attn_implementation=attention
        )
    model.eval()
    tied = bool(config.tie_word_embeddings)
    state = LazyState(weights, _rounded(stored_as, vectors_too), tied=tied)
    # The hooks take each weight from the mapping for the time that its layer computes.
    cpu_offload(model, execution_device=torch.device("cpu"), state_dict=state)
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return [logits[row, : len(sequence)].numpy() for row, sequence in enumerate(sequences)]


def _rounded(stored_as: torch.dtype, vectors_too: bool) -> Callable[[Tensor], Tensor]:
    def prepare(weight: Tensor) -> Tensor:
        is_rounded = vectors_too or weight.dim() > 1
        return weight.to(stored_as).float() if is_rounded else weight

    return prepare


class LazyState(Mapping[str, Tensor]):
    """Merged weights as a model's state, each made anew when it is asked for.

    Args:
        prepare: Makes what the model should compute with of a merged weight.
        tied: ``lm_head.weight`` is the embedding.
    """

    def __init__(
        self, weights: MergedWeights, prepare: Callable[[Tensor], Tensor], *, tied: bool
    ) -> None:
        self._weights = weights
        self._prepare = prepare
        self._aliases = {"lm_head.weight": "model.embed_tokens.weight"} if tied else {}

    def __getitem__(self, name: str) -> Tensor:
        return self._prepare(self._weights.tensor(self._aliases.get(name, name)))

    def __iter__(self) -> Iterator[str]:
        yield from self._weights.sources
        yield from self._aliases

    def __len__(self) -> int:
        return len(self._weights.sources) + len(self._aliases)
