"""Dataset rows in the shapes that trainers read; inside of the platform they stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiforge.schemas.datasets import DatasetFormat


def render_row(row: Mapping[str, Any], format: DatasetFormat) -> dict[str, Any]:
    """One row in a format.

    - ``alpaca``: ``{instruction, input, output}``
    - ``chat``: ``{messages: [{role, content}, …]}`` as OpenAI's
    - ``sharegpt``: ``{conversations: [{from, value}, …]}``
    - ``completion``: ``{prompt, completion}``

    The context stands before the question in the last three.
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
    return {"prompt": f"{prompt}\n\n", "completion": output}
