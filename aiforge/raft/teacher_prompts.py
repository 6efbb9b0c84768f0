"""What a teacher is asked about a chunk, and what of its reply may be believed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aiforge.raft.answers import compose, holds_markers, quote
from aiforge.raft.wording import normalise

PROMPT_VERSION = 1
"""Raised whenever the same chunk would be asked about in other words."""

_SYSTEM = (
    "You write training data about a software project. From one document you make questions that "
    "a developer of the project could ask without having the document before them, each with an "
    "answer that the document alone supports. Quotes are copied from the document character by "
    "character. You never mention the document itself. You reply with JSON only."
)
_TASK = """\
Write {count} different questions about what this part of `{path}` says, with their answers.

<DOCUMENT {path}>
{text}
</DOCUMENT>

For each give:
- "question": names what it is about, so that it can be understood by itself
- "reason": one or two sentences that lead from the quotes to the answer
- "quotes": one to three short passages, copied exactly from the document
- "answer": complete and as short as it can be

Reply with a JSON object:
{{"pairs": [{{"question": …, "reason": …, "quotes": […], "answer": …}}]}}"""
_REPAIR = "That reply is not valid: {error}. Reply again with the corrected JSON object alone."

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_DANGLING = re.compile(
    r"\b(?:this|the (?:above|given|provided|following|shown)) "
    r"(?:document|passage|text|excerpt|snippet|chunk|part|context)\b|\bthe document\b",
    re.IGNORECASE,
)
_MIN_QUESTION_WORDS = 4
_MAX_QUOTE_WORDS = 80


@dataclass(frozen=True)
class TeacherTask:
    """A chunk to ask about, and the name under which the answer comes back."""

    id: str
    path: str
    text: str


@dataclass(frozen=True)
class Pair:
    """A question with its answer in RAFT form, and the quotes in it."""

    question: str
    output: str
    quotes: tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class TeacherPair(_Strict):
    """One question with its answer, as a teacher gives it."""

    question: str = Field(min_length=1, max_length=2000)
    reason: str = Field(min_length=1, max_length=4000)
    quotes: list[str] = Field(min_length=1, max_length=5)
    answer: str = Field(min_length=1, max_length=8000)


class TeacherReply(_Strict):
    """What a teacher replies with."""

    pairs: list[TeacherPair] = Field(min_length=1, max_length=20)


def messages(task: TeacherTask, count: int) -> list[dict[str, str]]:
    """The conversation that asks for ``count`` questions about a chunk."""
    asked = _TASK.format(count=count, path=task.path, text=task.text)
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": asked}]


def repair(asked: list[dict[str, str]], reply: str, error: str) -> list[dict[str, str]]:
    """The conversation that asks for a faulty reply once more."""
    return [
        *asked,
        {"role": "assistant", "content": reply},
        {"role": "user", "content": _REPAIR.format(error=error)},
    ]


def response_format() -> dict[str, Any]:
    """The ``response_format`` that constrains a reply to ``TeacherReply``."""
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "teacher_reply",
            "strict": True,
            "schema": json_schema(),
        },
    }


def json_schema() -> dict[str, Any]:
    """The JSON schema of a reply, without the bounds that strict modes do not know."""
    schema: dict[str, Any] = _without_bounds(TeacherReply.model_json_schema())
    return schema


def _without_bounds(node: Any) -> Any:
    if isinstance(node, dict):
        unknown = ("minLength", "maxLength", "minItems", "maxItems", "title", "description")
        kept = {key: value for key, value in node.items() if key not in unknown}
        return {key: _without_bounds(value) for key, value in kept.items()}
    return [_without_bounds(item) for item in node] if isinstance(node, list) else node


def parse_reply(text: str) -> TeacherReply:
    """A reply by its schema; a fence around it is forgiven.

    Raises:
        ValueError: It is something else; the message says what, on one line.
    """
    fenced = _FENCED.match(text)
    try:
        return TeacherReply.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place + ': ' if place else ''}{first['msg']}") from error


def believed(task: TeacherTask, reply: TeacherReply) -> tuple[list[Pair], Counter[str]]:
    """The pairs of a reply that hold, and why the others do not.

    Every quote must stand in the chunk verbatim, white space aside.
    """
    whole = normalise(task.text)
    pairs: dict[str, Pair] = {}
    dropped: Counter[str] = Counter()
    for pair in reply.pairs:
        quotes = tuple(dict.fromkeys(map(normalise, pair.quotes)))
        if reason := _fault(pair, quotes, whole):
            dropped[reason] += 1
        elif normalise(pair.question).lower() in pairs:
            dropped["asked twice about one chunk"] += 1
        else:
            grounds = " ".join(map(quote, quotes))
            output = compose(f"{normalise(pair.reason)} {grounds}", pair.answer)
            question = normalise(pair.question)
            pairs[question.lower()] = Pair(question, output, quotes)
    return list(pairs.values()), dropped


def _fault(pair: TeacherPair, quotes: tuple[str, ...], whole: str) -> str | None:
    """Why a pair is not used."""
    if any(holds_markers(text) for text in (pair.question, pair.reason, pair.answer, *quotes)):
        return "holds the markers of the answer form"
    if not all(quotes) or not all(passage in whole for passage in quotes):
        return "a quote is not in the chunk"
    if any(len(passage.split()) > _MAX_QUOTE_WORDS for passage in quotes):
        return "quotes at great length"
    if len(pair.question.split()) < _MIN_QUESTION_WORDS:
        return "the question is too short"
    if _DANGLING.search(pair.question):
        return "the question speaks of a document that its reader may not have"
    if normalise(pair.answer).lower() in normalise(pair.question).lower():
        return "the question says the answer"
    return None
