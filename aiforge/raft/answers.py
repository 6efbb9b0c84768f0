"""The form of a RAFT answer: a reason with verbatim quotes, then the answer (arXiv 2403.10131).

##Reason: … ##begin_quote## … ##end_quote## …
##Answer: …
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"\A##Reason: (?P<reason>.+?)\n##Answer: ?(?P<answer>.+)\Z", re.DOTALL)
_QUOTE = re.compile(r"##begin_quote## (.+?) ##end_quote##", re.DOTALL)
_MARKERS = ("##Reason", "##Answer", "##begin_quote##", "##end_quote##")


@dataclass(frozen=True)
class Answer:
    """A RAFT answer taken apart."""

    reason: str
    quotes: list[str]
    answer: str


def quote(text: str) -> str:
    """A passage marked as taken word for word from a document."""
    return f"##begin_quote## {text} ##end_quote##"


def compose(reason: str, answer: str) -> str:
    """A RAFT answer; quotes stand in ``reason`` already."""
    separator = "\n" if answer.startswith("```") else " "
    return f"##Reason: {reason}\n##Answer:{separator}{answer}"


def parse_answer(output: str) -> Answer | None:
    """The parts of a RAFT answer; ``None`` where it does not have the form."""
    form = _FORM.match(output)
    if not form or any(marker in form["answer"] for marker in _MARKERS):
        return None
    outside = _QUOTE.sub("", form["reason"])
    if any(marker in outside for marker in _MARKERS):
        return None
    return Answer(form["reason"], _QUOTE.findall(form["reason"]), form["answer"].strip())


def holds_markers(text: str) -> bool:
    """Whether a text would be mistaken for parts of an answer's form."""
    return any(marker in text for marker in _MARKERS)
