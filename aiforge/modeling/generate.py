"""Batched generation: many prompts at once, each with randomness of its own.

A sample depends on its prompt, seed and number alone, up to rounding: neither on its place in a
batch nor on what was generated before, so that work that was interrupted goes on as if it had
not been.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from aiforge.errors import InternalError
from aiforge.modeling.lora import adapters_of
from aiforge.modeling.prompts import encode_example, encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH_TOKENS = 8192
"""Prompt and new tokens, padding included, that are in work at once."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: Longest completion.
        temperature: 0 takes the likeliest token each time.
        seed: Of all randomness.
        stop: Texts that end a completion; they are no part of it.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A prompt's tokens, and which of its samples is wanted."""

    ids: tuple[int, ...]
    sample: int = 0


@dataclass(frozen=True)
class Completion:
    """What came of a prompt; ``finished`` unless it was cut at the longest length."""

    text: str
    tokens: int
    finished: bool


class Generator:
    """Completes prompts with one model.

    Args:
        model: In evaluation mode; its device is used.
        tokenizer: Of the model, with its chat template.
        context: Longest sequence in tokens.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, context: int
    ) -> None:
        self.model, self.tokenizer, self.context = model, tokenizer, context
        self._stop_ids = _end_tokens(model, tokenizer)

    def chat(self, row: Mapping[str, Any], opening: str = "") -> tuple[int, ...]:
        """Tokens of a row's prompt as a chat client sends it.

        Of what is too long the end is kept, and an eighth of the context stays free.

        Args:
            row: With ``instruction`` and, optionally, ``input``.
            opening: How the answer begins already.
        """
        ids = encode_prompt(self.tokenizer, row)
        if opening:
            ids += self.tokenizer(opening, add_special_tokens=False, split_special_tokens=True)[
                "input_ids"
            ]
        return tuple(ids[-(self.context - self.context // 8) :])

    def batches(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[list[int]]:
        """Positions of prompts that go through the model together, longest prompts first."""
        order = sorted(range(len(prompts)), key=lambda one: len(prompts[one].ids), reverse=True)
        batch: list[int] = []
        for position in order:
            width = len(prompts[batch[0] if batch else position].ids) + sampling.max_new_tokens
            if batch and width * (len(batch) + 1) > BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(position)
        if batch:
            yield batch

    @torch.inference_mode()
    def complete(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        on_token: Callable[[], None] | None = None,
    ) -> list[Completion]:
        """Complete prompts as one batch.

        Args:
            on_token: Called after each step; what it raises stops the work.
        """
        device = next(self.model.parameters()).device
        width = max(len(prompt.ids) for prompt in prompts)
        pad = self._stop_ids[0]
        rows = [[pad] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts]
        masks = [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]
        processors, criteria = LogitsProcessorList(), StoppingCriteriaList()
        if sampling.temperature > 0:
            processors.append(_Gumbel(prompts, sampling))
        stopper = _Stops(self.tokenizer, sampling.stop, width, on_token)
        criteria.append(stopper)
        generate: Any = self.model.generate
        out: Tensor = generate(
            torch.tensor(rows, device=device),
            attention_mask=torch.tensor(masks, device=device),
            max_new_tokens=max(1, min(sampling.max_new_tokens, self.context - width)),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=None,
            eos_token_id=self._stop_ids,
            pad_token_id=pad,
            logits_processor=processors,
            stopping_criteria=criteria,
        )
        return [self._completion(row[width:].tolist(), sampling.stop) for row in out]

    def _completion(self, ids: list[int], stop: Sequence[str]) -> Completion:
        end = next((i for i, token in enumerate(ids) if token in self._stop_ids), None)
        kept = ids if end is None else ids[:end]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        cut = min((at for one in stop if (at := text.find(one)) >= 0), default=-1)
        finished = end is not None or cut >= 0
        return Completion(text[:cut] if cut >= 0 else text, len(kept), finished)


class _Gumbel(LogitsProcessor):  # type: ignore[misc]
    """Turns the likeliest token into a sample: argmax of ``logits/T + Gumbel noise``.

    The Gumbel-max trick (Gumbel 1954; Maddison et al., arXiv 1411.0030). Each row draws from a
    generator that its own seed, prompt and sample number make.
    """

    def __init__(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self._temperature = sampling.temperature
        self._generators = [_generator(prompt, sampling.seed) for prompt in prompts]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = torch.stack(
            [
                torch.empty(scores.shape[-1]).exponential_(generator=generator)
                for generator in self._generators
            ]
        )
        return scores.float() / self._temperature - noise.log().to(scores.device)


class _Stops(StoppingCriteria):  # type: ignore[misc]
    """Ends rows that contain a stop text, and tells that a step was made."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        stop: Sequence[str],
        width: int,
        on_token: Callable[[], None] | None,
    ) -> None:
        self._tokenizer, self._stop, self._width, self._on_token = tokenizer, stop, width, on_token
        # A stop text is at most one token per byte, and ends with the newest token.
        self._reach = max((len(one.encode()) for one in stop), default=0) + 1

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        if self._on_token is not None:
            self._on_token()
        done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        if self._stop:
            tails = input_ids[:, self._width :][:, -self._reach :].tolist()
            for row, tail in enumerate(tails):
                text = self._tokenizer.decode(tail)
                done[row] = any(one in text for one in self._stop)
        return done


def _generator(prompt: Prompt, seed: int) -> torch.Generator:
    identity = f"{seed}:{prompt.sample}:{','.join(map(str, prompt.ids))}"
    digest = hashlib.sha256(identity.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Ids that end an answer: the model's, the tokenizer's, and that of its chat template."""
    config: Any = getattr(model, "generation_config", None) or model.config
    named = config.eos_token_id
    ids = set(named if isinstance(named, list) else [named])
    ids |= {tokenizer.eos_token_id, turn_end(tokenizer)}
    return sorted(int(one) for one in ids if one is not None)


def turn_end(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that training teaches to end an answer with."""
    encoded = encode_example(tokenizer, {"instruction": "a", "output": "b"}, 1 << 12)
    if encoded is None:
        raise InternalError("A short example does not fit a long context.")
    return encoded.input_ids[-1]


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """The base model for the while: adapters stay in place and count for nothing."""
    adapters = [adapter for _, adapter in adapters_of(model)]
    scalings = [adapter.scaling for adapter in adapters]
    try:
        for adapter in adapters:
            adapter.scaling = 0.0
        yield
    finally:
        for adapter, scaling in zip(adapters, scalings, strict=True):
            adapter.scaling = scaling


def remove_adapters(model: nn.Module) -> None:
    """Put the linear layers back that adapters were laid on."""
    for name, adapter in list(adapters_of(model)):
        linear = nn.Linear(adapter.in_features, adapter.out_features, bias=False, device="meta")
        linear.weight, linear.bias = adapter.weight, adapter.bias
        model.set_submodule(name, linear)
