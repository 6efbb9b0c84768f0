"""Dataset rows in the shapes that trainers read; inside of the platform they stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiforge.raft.questions import taken_apart
from aiforge.schemas.datasets import DatasetFormat

# As Qwen's coder models spell them; others have other names for the same three.
FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"


def render_row(row: Mapping[str, Any], format: DatasetFormat) -> dict[str, Any]:
    """One row in a format.

    - ``alpaca``: ``{instruction, input, output}``
    - ``chat``: ``{messages: [{role, content}, …]}`` as OpenAI's
    - ``sharegpt``: ``{conversations: [{from, value}, …]}``
    - ``completion``: ``{prompt, completion}``

    The context stands before the question in the last three. As a completion, a question for
    missing lines becomes what fill-in-the-middle models are trained on: the code before the gap,
    the code after it, and the missing lines as the completion (2207.14255).
    """
    instruction, context, output = row["instruction"], row["input"], row["output"]
    if format == "alpaca":
        return {"instruction": instruction, "input": context, "output": output}
    prompt = "\n\n".join(part for part in (context, instruction) if part)
    if format == "chat":
        return {
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": output},
            ]
        }
    if format == "sharegpt":
        return {
            "conversations": [
                {"from": "human", "value": prompt},
                {"from": "gpt", "value": output},
            ]
        }
    if row.get("kind") == "infill" and (parts := taken_apart(instruction, output)):
        before, after, missing = parts
        gap = f"{FIM_PREFIX}{before}{FIM_SUFFIX}{after}{FIM_MIDDLE}"
        return {"prompt": f"{context}\n\n{gap}" if context else gap, "completion": missing}
    return {"prompt": f"{prompt}\n\n", "completion": output}
