"""Tokenizers and models, loaded without running anyone's code."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from aiforge.errors import Failure
from aiforge.modeling.bases import BaseModel, local_directory, read_config, weight_files
from aiforge.modeling.catalog import read_catalog

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}


def load_tokenizer(base: BaseModel) -> PreTrainedTokenizerFast:
    """The model's fast tokenizer, with a chat template and a padding token.

    The template is the catalog's where it names one, else the model's own, else ``plain``.

    Raises:
        Failure: ``tokenizer.json`` is missing or broken.
    """
    # The concrete class reads tokenizer.json as it is; AutoTokenizer would import far more.
    from transformers import PreTrainedTokenizerFast

    directory = local_directory(base)
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # the Rust parser raises bare Exception
        raise _unreadable(base, "tokenizer", error) from error
    if base.chat_template is not None:
        tokenizer.chat_template = base.chat_template
    elif not isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = read_catalog().chat_templates["plain"]
    if tokenizer.eos_token is None:
        raise _unreadable(base, "tokenizer", "it names no end-of-sequence token")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return cast("PreTrainedTokenizerFast", tokenizer)


def load_model(
    base: BaseModel,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    attention: str | None = None,
) -> PreTrainedModel:
    """The model with its weights, in evaluation mode, every weight accounted for.

    Args:
        base: Which model.
        dtype: Type of the weights in memory.
        device: Where they go.
        attention: Name of an attention implementation known to transformers; by default ``sdpa``,
            or ``eager`` for Gemma 2, whose capped scores it alone has.

    Raises:
        Failure: Weights are missing, have other shapes than the configuration says, or can't be
            read.
    """
    from transformers.utils import logging as transformers_logging

    directory = local_directory(base)
    weight_files(base)
    transformers_logging.disable_progress_bar()
    try:
        model, report = model_class(base).from_pretrained(
            directory,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            attn_implementation=attention,
            output_loading_info=True,
        )
    except Exception as error:  # transformers, safetensors and torch each raise their own
        raise _unreadable(base, "model", error) from error
    if missing := sorted(report["missing_keys"]):
        raise _unreadable(base, "model", f"{len(missing)} weights are missing, {missing[0]} first")
    return cast("PreTrainedModel", model.to(device).eval())


def model_class(base: BaseModel) -> Any:
    """The concrete transformers class of a supported architecture."""
    kind = read_config(base)["model_type"]
    package = "gemma3" if kind == "gemma3_text" else kind
    module = importlib.import_module(f"transformers.models.{package}.modeling_{package}")
    return getattr(module, _CLASSES[kind])


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write the tokenizer and its chat template beside a model or an adapter."""
    tokenizer.save_pretrained(directory)


def _unreadable(base: BaseModel, what: str, reason: object) -> Failure:
    first_line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return Failure(
        f"The {what} of base model {base.name!r} cannot be loaded: {first_line}; "
        f"check the files in {base.location}.",
        code="base_model_unreadable",
    )
