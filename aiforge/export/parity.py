"""Whether a written GGUF is the model: its tokens, its logits, and what quantizing cost.

The bounds are in ``BOUNDS`` and say what each type may lose. For the types written here they are
several times what rounding alone was measured to give; a wrong tensor, a wrong rotary embedding
or a wrong norm exceeds them by orders of magnitude. For the quantized types they bound the mean
Kullback-Leibler divergence from the 16-bit file, on random and on trained models alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from aiforge.export.plan import Check
from aiforge.export.texts import parity_texts, prompts
from aiforge.export.vocabulary import Vocabulary
from aiforge.modeling.llama_cpp import GgufModel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

GREEDY_TOKENS = 24
CONTEXT = 512
PROMPT_TOKENS = 48
_SAMPLED_ROWS = 32

LOGIT_BOUNDS = {"f32": 0.005, "f16": 0.03, "bf16": 0.2}
"""Largest difference of a logit from transformers', as a part of the logits' deviation;
llama.cpp rounds activations to the type of a 16-bit matrix before it multiplies."""

REFERENCE_KL_BOUNDS = {"f32": 1e-5, "f16": 1e-3, "bf16": 2e-2}
"""Mean divergence from transformers."""

KL_BOUNDS = {
    "q8_0": 0.02,
    "q6_k": 0.05,
    "q5_k_m": 0.15,
    "q4_k_m": 0.5,
    "q4_k_s": 0.6,
    "q3_k_m": 1.2,
    "q2_k": 3.0,
}
"""Mean divergence of the quantized file from the 16-bit one, in nats."""

ROUNDING_BOUNDS = {
    "F32": 0.0,
    "F16": 0.0,
    "BF16": 0.0,
    "Q8_0": 0.02,
    "Q6_K": 0.04,
    "Q5_K": 0.08,
    "Q5_1": 0.08,
    "Q5_0": 0.08,
    "Q4_K": 0.15,
    "Q4_1": 0.15,
    "Q4_0": 0.15,
    "IQ4_NL": 0.15,
    "Q3_K": 0.3,
    "Q2_K": 0.6,
}
"""Root mean square of a tensor's rounding error over that of the tensor, by its own type."""


@dataclass(frozen=True)
class Probe:
    """What a 16-bit file answers: sequences that begin with a prompt and go on greedily."""

    sequences: list[list[int]]
    prompt_lengths: list[int]
    logits: list[NDArray[np.float32]]


def check_tokens(
    model: GgufModel, tokenizer: PreTrainedTokenizerFast, vocabulary: Vocabulary
) -> list[Check]:
    """Compare token ids of a set of texts, and the embedded chat template."""
    texts = parity_texts(tokenizer)
    if vocabulary.is_composed:
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    if vocabulary.splits_marks:
        texts = [text for text in texts if not _has_marks(text)]
    wrong: list[str] = []
    for text in texts:
        expected = tokenizer(text)["input_ids"]
        if model.tokenize(text, add_special=True) != expected:
            wrong.append(text)
    rendered = _template_differences(model, tokenizer)
    return [
        Check(
            "token ids",
            len(wrong),
            0,
            f"of {len(texts)} texts differ",
            not wrong,
            f"first {wrong[0]!r}"[:200] if wrong else "",
        ),
        Check("chat template", rendered, 0, "conversations render differently", rendered == 0),
    ]


def _has_marks(text: str) -> bool:
    return any(unicodedata.category(character).startswith("M") for character in text)


def _template_differences(model: GgufModel, tokenizer: PreTrainedTokenizerFast) -> int:
    embedded = model.chat_template
    conversations = [
        [{"role": "user", "content": "What does `add` do?"}],
        [
            {"role": "user", "content": "One\n\ntwo "},
            {"role": "assistant", "content": " three"},
            {"role": "user", "content": "four"},
        ],
    ]

    def render(template: str | None, conversation: list[dict[str, str]]) -> str:
        return str(
            tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, chat_template=template
            )
        )

    return sum(embedded is None or render(embedded, c) != render(None, c) for c in conversations)


def probe(model: GgufModel, tokenizer: PreTrainedTokenizerFast) -> Probe:
    """Let the model continue some prompts greedily, and keep its logits."""
    heads = [
        tokenizer(prompt)["input_ids"][:PROMPT_TOKENS] or [model.end_token]
        for prompt in prompts(tokenizer)
    ]
    sequences = [[*head, *model.greedy(head, GREEDY_TOKENS)] for head in heads]
    return Probe(
        sequences, [len(head) for head in heads], [model.logits(tokens) for tokens in sequences]
    )


def check_logits(
    found: Probe, reference: Sequence[NDArray[np.float32]], file_type: str
) -> list[Check]:
    """Compare with transformers: logits, divergence, and the greedy tokens.

    Given the same prefix transformers must choose the token that llama.cpp chose, at every step;
    so both generate the same. A choice between two tokens that are closer than twice the
    difference of the logits can go either way and is not counted.
    """
    difference = max(
        float(np.abs(ours - theirs).max())
        for ours, theirs in zip(found.logits, reference, strict=True)
    )
    spread = max(float(np.std(theirs)) for theirs in reference)
    divergence = _mean_divergence(reference, found.logits)
    wrong = ties = steps = 0
    for sequence, length, theirs in zip(
        found.sequences, found.prompt_lengths, reference, strict=True
    ):
        for position in range(length, len(sequence)):
            row = theirs[position - 1]
            steps += 1
            if int(row.argmax()) == sequence[position]:
                continue
            if float(row.max() - row[sequence[position]]) <= 2 * difference:
                ties += 1
            else:
                wrong += 1
    bound = LOGIT_BOUNDS[file_type] * spread
    allowed = REFERENCE_KL_BOUNDS[file_type]
    return [
        Check("logits", difference, bound, "largest difference", difference <= bound),
        Check("divergence", divergence, allowed, "nats, mean", divergence <= allowed),
        Check(
            "greedy tokens",
            wrong,
            0,
            f"of {steps} differ",
            wrong == 0,
            f"{ties} too close to call" if ties else "",
        ),
    ]


def check_quantized(
    model: GgufModel, found: Probe, quantization: str, path: Path, original: Path
) -> tuple[list[Check], list[str]]:
    """Compare a quantized file with the 16-bit one it was made from.

    Returns:
        The checks, and notes on tensors that got another type than asked for.
    """
    logits = [model.logits(tokens) for tokens in found.sequences]
    divergence = _mean_divergence(found.logits, logits)
    bound = KL_BOUNDS[quantization]
    excess, worst, notes = _compare_tensors(path, original)
    agreement = np.mean(
        [
            (ours.argmax(-1) == theirs.argmax(-1)).mean()
            for ours, theirs in zip(logits, found.logits, strict=True)
        ]
    )
    return [
        Check(
            "divergence from 16 bit",
            divergence,
            bound,
            "nats, mean",
            divergence <= bound,
            f"most likely token equal in {agreement:.0%} of positions",
        ),
        Check(
            "rounding", excess, 1.0, "of a tensor's bound, largest", excess <= 1.0, f"at {worst}"
        ),
    ], notes


def _compare_tensors(path: Path, original: Path) -> tuple[float, str, list[str]]:
    """Largest share of its bound that a tensor's rounding error is, whose, and fallbacks."""
    exact = {tensor.name: tensor for tensor in gguf.GGUFReader(original).tensors}
    excess, worst = 0.0, "none"
    fallbacks: dict[str, int] = {}
    for tensor in gguf.GGUFReader(path).tensors:
        kind = tensor.tensor_type.name
        width = int(tensor.shape[0])
        if len(tensor.shape) > 1 and width % 256 and kind != "F32":
            key = f"rows of {width} are stored as {kind.lower()}"
            fallbacks[key] = fallbacks.get(key, 0) + 1
        share = _rounding(tensor, exact[tensor.name]) / (ROUNDING_BOUNDS.get(kind, 0.6) or 1e-9)
        if not share <= excess:
            excess, worst = share, f"{tensor.name} ({kind})"
    notes = [
        f"{count} tensors cannot have the type that was asked for: {key} (a k-quant needs a "
        "multiple of 256)"
        for key, count in fallbacks.items()
    ]
    return excess, worst, notes


def _rounding(tensor: Any, exact: Any) -> float:
    rows, of_exact = _rows(tensor), _rows(exact)
    scale = float(np.sqrt(np.mean(np.square(of_exact))))
    error = float(np.sqrt(np.mean(np.square(rows - of_exact))))
    return error / scale if scale else error


def _rows(tensor: Any) -> NDArray[np.float64]:
    """Some rows spread over a tensor, the first and the last among them."""
    data = tensor.data if tensor.data.ndim > 1 else tensor.data[None]
    picked = np.unique(np.linspace(0, len(data) - 1, _SAMPLED_ROWS).astype(int))
    rows: NDArray[np.float64] = gguf.dequantize(
        np.asarray(data[picked]), tensor.tensor_type
    ).astype(np.float64)
    return rows


def _mean_divergence(
    exact: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]
) -> float:
    """Mean over all positions of KL(exact ‖ other), in nats."""
    found = []
    for p_logits, q_logits in zip(exact, other, strict=True):
        p, q = _log_softmax(p_logits), _log_softmax(q_logits)
        found.append((np.exp(p) * (p - q)).sum(-1))
    return float(np.concatenate(found).mean())


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result
