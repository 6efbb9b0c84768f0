"""Questions without any model: each is answered by what a chunk says of itself.

The kinds, and where they come from:

    docstring   documentation → what does X do (CodeQA, 2109.08365)
    signature   signature → parameters and result
    which       description → which function (RepoQA, 2406.06025)
    section     heading → what the section says (DocPrompting, 2207.05987)
    usage       test → usage example
    caller      who calls X
    infill      the missing lines of a function (2207.14255)
    commit      what a commit did → its diff (CommitPack, 2308.07124)

and ``teacher``, whose questions and answers a model wrote.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from aiforge.raft.answers import compose, holds_markers, quote
from aiforge.raft.records import Chunk, Draft, Fact
from aiforge.raft.wording import first_paragraph, first_prose, first_sentence, normalise, sentences

KINDS = (
    *("docstring", "signature", "which", "section", "usage", "caller", "infill"),
    *("commit", "teacher"),
)

_MAX_ANSWER_WORDS = 60
_MAX_QUOTE_WORDS = 60
_USAGE_LINES = 8

_DOCSTRING = (
    "What does the {kind} `{name}`{where} do?",
    "What is the {kind} `{name}`{where} for?",
    "Explain the purpose of `{name}`{where}.",
    "How is the {kind} `{name}`{where} documented?",
    "Describe what `{name}`{where} does.",
)
_SIGNATURE = (
    "What parameters does `{name}`{where} take, and what does it return?",
    "Which arguments does the function `{name}`{where} accept?",
    "How is `{name}`{where} declared?",
    "What is the signature of `{name}`{where}?",
)
_WHICH = (
    'Which {kind} is described by "{description}"?',
    'What is the name of the {kind} that is documented as "{description}"?',
    'Which {kind} should I use for this: "{description}"',
    'Where is this implemented: "{description}"',
)
_SECTION = (
    'What does the section "{name}"{where} say?',
    'What is written about "{name}"{where}?',
    'What should I know about "{name}"{where}?',
    'Summarise the beginning of the section "{name}"{where}.',
)
_USAGE = (
    "How is `{target}` used? Show an example.",
    "Give an example of a call of `{target}`.",
    "Show how the tests use `{target}`.",
)
_CALLER = (
    "Which function calls `{target}`?",
    "Where is `{target}` called?",
    "What uses `{target}`?",
)
_INFILL = (
    "Write the lines that are missing at `{gap}` in this code of `{path}`:\n\n{code}",
    "Complete this code of `{path}` at `{gap}`:\n\n{code}",
)
_COMMIT = (
    'Make this change to {path}: "{subject}"\n\n{code}',
    'Give the diff of the commit "{subject}" to these lines of {path}.\n\n{code}',
    'What did the commit "{subject}" change in these lines of {path}?\n\n{code}',
)
_GAP = "<FILL>"
_CODE = re.compile(r"\w")
_DOCUMENTATION = re.compile(r'[^"]{0,2000}?:\s*\n\s*[rRbuU]{0,2}"""(?:.*?)"""[^\n]*\n', re.DOTALL)


@dataclass
class Rendered:
    """A question with its answer in RAFT form.

    ``needles`` are texts, white space normalised, whose presence makes another chunk answer the
    question too; ``names`` are identifiers of which all together do.
    """

    question: str
    output: str
    quotes: list[str]
    needles: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    needs_golden: bool = True


class Unanswerable(Exception):
    """Why no example can be made of a draft, in words for the yield report."""


def render(draft: Draft, chunk: Chunk, seed: int) -> Rendered:
    """The question and answer of a draft; its phrasing follows from the draft and the seed.

    Raises:
        Unanswerable: The chunk does not hold what the answer needs.
    """
    rng = random.Random(f"{seed}\0{draft.id}")
    rendered = _RENDERERS[draft.kind](draft, chunk, chunk.facts[draft.fact], rng)
    if any(map(holds_markers, rendered.quotes)):
        raise Unanswerable("holds the markers of the answer form")
    if holds_markers(rendered.question) or rendered.output.count("##Answer:") != 1:
        raise Unanswerable("holds the markers of the answer form")
    return rendered


def local_kinds(fact: Fact) -> list[str]:
    """The kinds of question that a fact allows by itself."""
    if fact.kind in _EXTRA:
        return [_EXTRA[fact.kind]]
    if fact.kind == "section":
        return ["section"] if len(first_prose(fact.doc).split()) >= 6 else []
    if fact.nested or fact.name.startswith("test"):
        return []
    kinds = []
    if len(fact.doc.split()) >= 3:
        kinds.append("docstring")
        if len(description_of(fact).split()) >= 6:
            kinds.append("which")
    if fact.kind == "function" and (fact.parameters or fact.returns):
        kinds.append("signature")
    if fact.kind == "function" and fact.whole and _gap(fact.code) is not None:
        kinds.append("infill")
    return kinds


def description_of(fact: Fact) -> str:
    """The sentence by which a fact is described, white space normalised."""
    return _description(fact.doc)


@lru_cache(maxsize=1 << 10)
def _description(doc: str) -> str:
    return normalise(first_sentence(first_paragraph(doc)))


def is_test(path: str, fact: Fact) -> bool:
    """Whether a function is a test."""
    named = fact.name.startswith(("test", "Test", "should", "it_"))
    return fact.kind == "function" and (named or _holds_tests(path))


@lru_cache(maxsize=1 << 12)
def _holds_tests(path: str) -> bool:
    return bool(re.search(r"(^|[/_.])tests?[/_.]", path))


def _docstring(draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    passage = _verbatim(chunk, fact.doc)
    where = _where(draft, chunk, rng)
    question = rng.choice(_DOCSTRING).format(kind=fact.kind, name=fact.qualified, where=where)
    reason = rng.choice(
        (
            f"`{fact.qualified}` is defined in {chunk.path} and documented as {quote(passage)}.",
            f"In {chunk.path}, the {fact.kind} `{fact.qualified}` says of itself {quote(passage)}.",
        )
    )
    answer = sentences(first_paragraph(fact.doc), _MAX_ANSWER_WORDS)
    return Rendered(question, compose(reason, answer), [passage], [normalise(passage)])


def _signature(draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    passage = fact.signature
    if normalise(passage) not in normalise(chunk.text):
        raise Unanswerable("what would be quoted is not in the chunk")
    where = _where(draft, chunk, rng)
    question = rng.choice(_SIGNATURE).format(name=fact.qualified, where=where)
    reason = f"{chunk.path} declares it as {quote(passage)}."
    listed = ", ".join(f"`{parameter}`" for parameter in fact.parameters)
    takes = f"takes {listed}" if listed else "takes no parameters"
    returns = f"returns `{fact.returns}`" if fact.returns else "declares no return type"
    answer = f"`{fact.qualified}` {takes} and {returns}."
    return Rendered(question, compose(reason, answer), [passage], [normalise(passage)])


def _which(_draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    passage = _verbatim(chunk, first_sentence(first_paragraph(fact.doc)))
    description = description_of(fact).rstrip(".")
    question = rng.choice(_WHICH).format(kind=fact.kind, description=description)
    head = fact.signature.split("\n")[0]
    if normalise(head) not in normalise(chunk.text):
        raise Unanswerable("what would be quoted is not in the chunk")
    reason = f"{chunk.path} describes {quote(head)} with the words {quote(passage)}."
    answer = f"`{fact.qualified}` in {chunk.path}"
    names = [fact.name] if len(fact.name) > 3 else []
    return Rendered(question, compose(reason, answer), [head, passage], [normalise(passage)], names)


def _section(_draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    prose = first_prose(fact.doc)
    passage = _verbatim(chunk, prose)
    where = rng.choice((f" of {chunk.path}", f" in {chunk.path}"))
    question = rng.choice(_SECTION).format(name=fact.name, where=where)
    reason = f'The section "{fact.name}" of {chunk.path} reads {quote(passage)}.'
    answer = sentences(prose, _MAX_ANSWER_WORDS)
    return Rendered(question, compose(reason, answer), [passage], [normalise(passage)])


def _usage(draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    line, code = _call(fact, draft.target, _USAGE_LINES)
    question = rng.choice(_USAGE).format(target=draft.target)
    reason = f"In {chunk.path}, `{fact.qualified}` calls it: {quote(line)}."
    answer = f"```{_fence(chunk)}\n{code}\n```"
    return Rendered(question, compose(reason, answer), [line], [normalise(line)], [draft.target])


def _caller(draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    line, _ = _call(fact, draft.target, 1)
    question = rng.choice(_CALLER).format(target=draft.target)
    reason = f"In {chunk.path}, the body of `{fact.qualified}` holds {quote(line)}."
    answer = f"`{fact.qualified}` in {chunk.path} calls `{draft.target}`."
    return Rendered(question, compose(reason, answer), [line], [normalise(line)])


def _infill(_draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    gap = _gap(fact.code, rng)
    if gap is None:
        raise Unanswerable("too short to leave a gap")
    lines = fact.code.split("\n")
    first, last = gap
    missing = "\n".join(lines[first:last])
    holed = "\n".join([*lines[:first], _GAP, *lines[last:]])
    if _GAP in fact.code or "```" in fact.code:
        raise Unanswerable("holds the marker of a gap")
    before = next(line.strip() for line in reversed(lines[:first]) if _CODE.search(line))
    fence = _fence(chunk)
    question = rng.choice(_INFILL).format(
        gap=_GAP, path=chunk.path, code=f"```{fence}\n{holed}\n```"
    )
    reason = f"The gap in `{fact.qualified}` comes after {quote(before)}."
    output = compose(reason, f"```{fence}\n{missing}\n```")
    return Rendered(question, output, [before], [normalise(missing)], needs_golden=False)


def taken_apart(question: str, output: str) -> tuple[str, str, str] | None:
    """Code before the gap, code after it and the missing lines of an ``infill`` example."""
    holed = question.partition("\n\n```")[2].partition("\n")[2].removesuffix("\n```")
    missing = output.partition("\n```")[2].partition("\n")[2].removesuffix("\n```")
    before, gap, after = holed.partition(_GAP)
    return (before, after, missing) if gap and missing else None


def _commit(_draft: Draft, chunk: Chunk, fact: Fact, rng: random.Random) -> Rendered:
    lines = fact.doc.split("\n")
    first = next(index for index, line in enumerate(lines) if line[:1] in "+-")
    stays = [line[1:].strip() for line in lines[:first][::-1] + lines[first:] if line[:1] == " "]
    around = next((line for line in stays if _CODE.search(line)), "")
    if not around or normalise(around) not in normalise(chunk.text):
        raise Unanswerable("what would be quoted is not in the chunk")
    if "```" in fact.doc:
        raise Unanswerable("holds the marker of a code block")
    question = rng.choice(_COMMIT).format(
        path=chunk.path, subject=fact.name, code=f"```{_fence(chunk)}\n{fact.signature}\n```"
    )
    reason = f'To do what is said by "{fact.name}", change what stands at {quote(around)}.'
    output = compose(reason, f"```diff\n{fact.doc}\n```")
    return Rendered(question, output, [around], [normalise(fact.code)], needs_golden=False)


def _teacher(_draft: Draft, chunk: Chunk, fact: Fact, _rng: random.Random) -> Rendered:
    whole = normalise(chunk.text)
    if not all(passage in whole for passage in fact.parameters):
        raise Unanswerable("what would be quoted is not in the chunk")
    return Rendered(fact.name, fact.doc, fact.parameters, [max(fact.parameters, key=len)])


# Facts that are added to a chunk by others, and the one kind of question that each allows.
_EXTRA = {"change": "commit", "asked": "teacher"}

_RENDERERS: dict[str, Callable[[Draft, Chunk, Fact, random.Random], Rendered]] = {
    "docstring": _docstring,
    "signature": _signature,
    "which": _which,
    "section": _section,
    "usage": _usage,
    "caller": _caller,
    "infill": _infill,
    "commit": _commit,
    "teacher": _teacher,
}


def _verbatim(chunk: Chunk, text: str) -> str:
    """The longest beginning of a text that stands in the chunk word for word."""
    whole = normalise(chunk.text)
    paragraph = first_paragraph(text)
    candidates = (paragraph, first_sentence(paragraph), paragraph.split("\n")[0])
    for candidate in candidates:
        passage = normalise(candidate)
        if 2 < len(passage.split()) <= _MAX_QUOTE_WORDS and passage in whole:
            return passage
    raise Unanswerable("what would be quoted is not in the chunk")


def _where(draft: Draft, chunk: Chunk, rng: random.Random) -> str:
    named = rng.random() < 0.5
    return f" in {chunk.path}" if draft.ambiguous or named else ""


def _call(fact: Fact, target: str, most: int) -> tuple[str, str]:
    """The line that calls the target, and the code up to there, its indentation removed."""
    lines = fact.code.split("\n")
    pattern = re.compile(rf"\b{re.escape(target)}\s*[(<]")
    body = range(1, len(lines))
    at = next((index for index in body if pattern.search(lines[index])), None)
    if at is None:
        raise Unanswerable("the call is not in the chunk")
    shown = lines[max(1, at - most + 1) : at + 1]
    margin = min((len(line) - len(line.lstrip()) for line in shown if line.strip()), default=0)
    return lines[at].strip(), "\n".join(line[margin:] for line in shown).strip("\n")


def _gap(code: str, rng: random.Random | None = None) -> tuple[int, int] | None:
    """A range of lines in the middle of a function; ``None`` where it is too short for one."""
    if code.count("\n") < 4:
        return None
    lines = code.split("\n")
    documented = _DOCUMENTATION.match(code)
    first = documented[0].count("\n") if documented else 1
    inner = [index for index in range(first, len(lines)) if _CODE.search(lines[index])]
    if len(inner) < 5:
        return None
    size = min(5, len(inner) // 2)
    start = rng.randrange(1, len(inner) - size) if rng else 1
    return inner[start], inner[start + size - 1] + 1


def _fence(chunk: Chunk) -> str:
    return chunk.language or ""
