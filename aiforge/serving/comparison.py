"""One question, put to the base model as well."""

from __future__ import annotations

from aiforge.modeling import bases
from aiforge.modeling.bases import BaseModel

LARGEST_BYTES = 1 << 30
"""Weights of a base model that is loaded for a single answer at most."""


def base_answer(base: BaseModel, question: str, max_tokens: int) -> str | None:
    """What the base model answers greedily; ``None`` where it is too large for that.

    Raises:
        Failure: It cannot be loaded.
    """
    if sum(file.stat().st_size for file in bases.weight_files(base)) > LARGEST_BYTES:
        return None
    # What is asked for once in a deployment is not worth loading torch wherever this is imported.
    from aiforge.modeling.generate import Generator, Prompt, Sampling
    from aiforge.modeling.load import load_model, load_tokenizer

    generator = Generator(load_model(base), load_tokenizer(base), bases.context_length(base))
    prompt = Prompt(generator.chat({"instruction": question}))
    (answer,) = generator.complete([prompt], Sampling(max_new_tokens=max_tokens))
    return answer.text.strip()
