"""The card and the licence notice of ``forge-tiny``, written from its figures."""

from __future__ import annotations

import math
import sys
import sysconfig
from pathlib import Path
from typing import Any

_CARD = """\
# forge-tiny

A small language model of Llama's architecture that knows Python source code a little. It ships
with AI Forge so that every part of the platform (fine-tuning, evaluation, export, serving) runs
for real on a machine without a GPU, without a model hub and without an account.

| | |
|---|---|
| Architecture | Llama, tied embeddings |
| Layers | {layers}, {heads} heads ({kv_heads} key-value) |
| Widths | {hidden}, {intermediate} inside the feed-forward block |
| Parameters | {parameters:,}, stored in float16 |
| Context | {context} tokens |
| Tokenizer | byte-level BPE, {vocabulary} tokens, Llama 3's pre-tokenizer |
| Chat template | ChatML (`<|im_start|>`, `<|im_end|>`) |

## Data

The sources of Python {python}'s standard library as installed (SHA-256 of the corpus
`{corpus_sha256}`): {train_files} files, all modules and {test_share:.0%} of the tests, cut into
pieces of 512 to {context} tokens, one in twelve shown as prefix, suffix, middle; and questions
whose answers are docstrings, signatures and code of the same files, in the chat template.
{train_tokens:,} tokens in all. {held_out_files} files, chosen by a hash of their paths, were held
out before anything else. The sources stand under the licences in `LICENSE-NOTICE`.

## Training

{steps} steps of about {step_tokens:,} tokens ({seen_tokens:,} seen) with AI Forge's own loop in
float32 on CPU: {optimizer_name}, learning rate {learning_rate:g} with {warmup}
steps of warm-up and a cosine fall to zero, weight decay {weight_decay:g}. `make forge-tiny` does
it again.

## Figures

| | |
|---|---|
| Loss on the held-out files | {held_out_loss:.3f} nats per token |
| Perplexity on the held-out files | {held_out_perplexity:.1f} |
| Bits per byte on the held-out files | {held_out_bits_per_byte:.3f} |
| Tokens scored | {held_out_tokens:,} |

Measured with the stored float16 weights, in windows of {window} tokens, the first token of each
not scored.
"""

_COMPARISON = """
What the pretraining is worth for fine-tuning: {steps} steps of {tokens_per_step:,} tokens on the
sources of `{package}`, which it has never seen, all weights trained, each start with the best of
three learning rates. Loss on held-out files of `{package}` ({held_out_tokens:,} tokens):

| | loss | perplexity |
|---|---|---|
| forge-tiny, before | {before:.3f} | {before_perplexity:.1f} |
| fine-tuned from forge-tiny | **{model_loss:.3f}** | **{model_perplexity:.1f}** |
| fine-tuned from random weights | {random_loss:.3f} | {random_perplexity:.1f} |
"""

_LIMITS = """
## What it cannot do

It does not write working programs, answer questions truthfully or follow instructions, and it
knows no language but Python and some English of docstrings. What it says looks like Python and
means little. It was not aligned, filtered or tested for safety. Its use is to be fine-tuned,
measured, exported and served while the platform is tried out; for real work name a real base
model.

It may repeat passages of the standard library word for word.
"""

_OPTIMIZERS = {"muon": "Muon (AdamW for embedding and norms)", "adamw": "AdamW"}

_NOTICE = """\
forge-tiny was trained on the source code of the Python standard library and can reproduce parts
of it. What was changed: the sources were tokenised, cut, rearranged into questions and answers,
and turned into the weights of a statistical model.

{copyright}

The licence of Python {version} follows.

"""


def render(figures: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        figures: What ``pretrain`` measured; with the entry ``comparison`` where ``compare`` ran.
    """
    recipe = figures["recipe"]
    text = _CARD.format(
        **figures,
        **recipe,
        optimizer_name=_OPTIMIZERS[recipe["optimizer"]],
        step_tokens=round(figures["seen_tokens"] / recipe["steps"]),
        window=recipe["context"] // 2,
    )
    if comparison := figures.get("comparison"):
        model, random = comparison["from_model"]["loss"], comparison["from_random"]["loss"]
        text += _COMPARISON.format(
            **comparison,
            before_perplexity=math.exp(comparison["before"]),
            model_loss=model,
            model_perplexity=math.exp(model),
            random_loss=random,
            random_perplexity=math.exp(random),
        )
    return text + _LIMITS


def notice() -> str:
    """Copyright and licence of the sources that the model was trained on."""
    licence = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    text = licence.read_text(encoding="utf-8") if licence.exists() else ""
    head = _NOTICE.format(copyright=sys.copyright, version=sys.version.split()[0])
    return head + (text or "https://docs.python.org/3/license.html\n")
