"""Cross-entropy on the trained positions only, in chunks, with its gradient made on the way.

Logits are the largest tensor of a step: T × V values where often only a third of the positions
is trained. Here the hidden states of trained positions are gathered first, logits exist for
``CHUNK`` of them at a time, and their gradient is formed while they are there, so neither logits
nor their gradient are ever kept (the idea of Liger Kernel's fused linear cross-entropy,
arXiv 2410.10989, restricted to the rows that matter).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from aiforge.training.data import IGNORED, Batch

CHUNK = 2048
"""Positions whose logits exist at one time."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Σ cross-entropy(hidden · weightᵀ, targets), gradients made in forward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        softcap: float | None,
    ) -> torch.Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        for start in range(0, hidden.shape[0], CHUNK):
            rows = slice(start, start + CHUNK)
            loss, grad = _chunk(hidden[rows], weight, targets[rows], softcap)
            total += loss
            if grad_hidden is not None:
                torch.mm(grad, weight, out=grad_hidden[rows])
            if grad_weight is not None:
                grad_weight += grad.T @ hidden[rows]
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        scaled_hidden = None if hidden is None else hidden * grad_output.to(hidden.dtype)
        scaled_weight = None if weight is None else (weight * grad_output).to(ctx.weight_dtype)
        return scaled_hidden, scaled_weight, None, None


def _chunk(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, softcap: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed loss of some rows and its gradient by their logits, in the type of ``hidden``."""
    logits = (hidden @ weight.T).float()
    capped = None
    if softcap is not None:
        capped = torch.tanh(logits / softcap)
        logits = capped * softcap
    columns = targets[:, None]
    chosen = logits.gather(1, columns)
    normalizer = logits.logsumexp(1, keepdim=True)
    grad = logits.sub_(normalizer).exp_()
    grad.scatter_add_(1, columns, grad.new_full((1, 1), -1.0).expand_as(columns))
    if capped is not None:
        grad *= 1 - capped.square_()
    return (normalizer - chosen).sum(), grad.to(hidden.dtype)


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    softcap: float | None = None,
) -> torch.Tensor:
    """Summed cross-entropy of the positions whose target is not ``IGNORED``.

    Args:
        hidden: (T, hidden) outputs of the last layer.
        weight: (vocabulary, hidden) of the output layer.
        targets: (T,) token to predict at each position.
        softcap: Bound on the logits, ``softcap · tanh(logit / softcap)`` (Gemma 2).

    Returns:
        A scalar in float32; 0 with a zero gradient where nothing is trained.
    """
    # Where nothing is trained the graph must be the same: workers reduce gradients in step.
    kept = (targets != IGNORED).nonzero().squeeze(1)
    loss: torch.Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.index_select(0, kept), weight, targets.index_select(0, kept), softcap
    )
    return loss


class LossHead(nn.Module):
    """A model's output layer that answers with the loss instead of logits.

    It is a module that owns the weight, so that whoever partitions parameters by module
    (ZeRO stage 3) gathers this one as it gathers every other.
    """

    def __init__(self, weight: nn.Parameter, softcap: float | None) -> None:
        super().__init__()
        self.weight = weight
        self.softcap = softcap

    def forward(self, hidden: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """Summed loss of (T, hidden) against (T,); without targets the logits (T, vocabulary)."""
        if targets is not None:
            return linear_cross_entropy(hidden, self.weight, targets, self.softcap)
        logits = (hidden @ self.weight.T).float()
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


class CausalLoss(nn.Module):
    """A causal language model of transformers as a function from a batch to its summed loss.

    The model must use the attention implementation of ``aiforge.training.attention``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.get_decoder()
        output = model.get_output_embeddings()
        if getattr(output, "bias", None) is not None:
            raise ValueError("an output layer with a bias is not supported")
        self.head = LossHead(output.weight, getattr(model.config, "final_logit_softcapping", None))

    def forward(self, batch: Batch, logits: bool = False) -> torch.Tensor:
        """Summed cross-entropy of a batch's trained positions, or logits (T, vocabulary)."""
        output = self.backbone(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            document_lengths=batch.lengths,
        )
        targets = None if logits else batch.targets
        result: torch.Tensor = self.head(output.last_hidden_state[0], targets)
        return result
