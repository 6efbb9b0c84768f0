"""Small real models: random weights, hidden size 64, and a tokenizer trained on the spot."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from aiforge.modeling.bases import BaseModel

# Matrices this small are not worth threads that wait for each other.
torch.set_num_threads(1)

VOCABULARY = 384
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CLASSES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "phi3": "Phi3",
    "gemma": "Gemma",
    "gemma2": "Gemma2",
    "gemma3_text": "Gemma3",
}
_CORPUS = [
    "def area(width, height):\n    return width * height\n",
    "class Shape:\n    def __init__(self, name):\n        self.name = name\n",
    "What does this function do? It returns the product of its arguments.\n",
]


def make_base(
    directory: Path, family: str = "llama", *, dtype: torch.dtype = torch.float32, **options: Any
) -> BaseModel:
    """Save a random model and its tokenizer in a directory, and return it as a base model."""
    make_model(family, **options).to(dtype).save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return BaseModel(directory.name, str(directory))


def make_model(family: str = "llama", *, seed: int = 0, **options: Any) -> Any:
    """A random model of a family in evaluation mode; ``options`` go into its configuration."""
    package = "gemma3" if family == "gemma3_text" else family
    module = importlib.import_module(f"transformers.models.{package}")
    stem = _CLASSES[family]
    config_class = "Gemma3TextConfig" if family == "gemma3_text" else f"{stem}Config"
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    }
    torch.manual_seed(seed)
    config = getattr(module, config_class)(**(sizes | options))
    return getattr(module, f"{stem}ForCausalLM")(config).eval()


def make_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML's control tokens; without a template by default."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()), bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = template
    return tokenizer


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer.to_str()
