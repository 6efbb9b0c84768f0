"""Conversations as prompts, by the chat template that a GGUF carries.

The template is rendered as transformers renders it: Jinja in a sandbox, with the names that
templates expect. As in training, what the messages say never becomes a control token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aiforge.errors import InvalidInput
from aiforge.serving.chat import Message

# A noncharacter: no text has a use for it, so it can stand in for what must stay literal.
_MARK = "\U0010fffe"


@dataclass(frozen=True)
class Stretch:
    """A part of a prompt; control tokens that a literal one spells out are ordinary text."""

    text: str
    is_literal: bool


def render(
    template: str,
    messages: Sequence[Message],
    tokens: Mapping[str, str],
    control: re.Pattern[str],
) -> list[Stretch]:
    """A conversation as the prompt for its next answer.

    Args:
        template: Jinja, as the model's file embeds it.
        tokens: ``bos_token`` and the like by their names in templates.
        control: Finds the texts of the model's control tokens.

    Raises:
        InvalidInput: The template refuses the conversation (``conversation_refused``).
    """
    literals: list[str] = []

    def mark(found: re.Match[str]) -> str:
        literals.append(found[0])
        return f"{_MARK}{len(literals) - 1}{_MARK}"

    cleaned = [
        {**message, "content": control.sub(mark, message["content"].replace(_MARK, ""))}
        for message in messages
    ]
    try:
        text = _compiled(template).render(
            messages=cleaned, add_generation_prompt=True, tools=None, documents=None, **tokens
        )
    except (TemplateError, SecurityError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"The model's chat template refuses this conversation: {str(error)[:300]}.",
            code="conversation_refused",
            field="messages",
        ) from error
    return [
        Stretch(literals[int(piece)] if index % 2 else piece, bool(index % 2))
        for index, piece in enumerate(re.split(f"{_MARK}([0-9]+){_MARK}", text))
        if piece
    ]


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    # Jinja's own filter escapes what HTML reserves.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
